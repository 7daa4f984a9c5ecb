"""Outputs: AWS's selectable inference and XGBoost's own kinds of prediction."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import xgboost as xgb

from mme_handler.errors import BadRequestError, RequestTooLargeError
from mme_handler.models import outputs
from mme_handler.models.booster import adopt
from mme_handler.models.predictor import Predictor

ROWS = np.random.default_rng(1).normal(size=(7, 3)).astype(np.float32)
NAMES = ("AREA", "ROOMS", "AGE")


@cache
def booster(objective: str, **parameters: object) -> xgb.Booster:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    classes = 3 if objective.startswith("multi") else 2
    y = np.digitize(x[:, 0], [-0.5, 0.5])[:200] % classes
    if objective.startswith(("reg", "count")):
        y = np.exp(x[:, 0])
    settings = {"objective": objective, "max_depth": 2, **parameters}
    if classes == 3:
        settings["num_class"] = 3
    return xgb.train(settings, xgb.DMatrix(x, y, feature_names=list(NAMES)), 4)


def compute(objective: str, keys: str) -> dict[str, np.ndarray]:
    predictor = Predictor(adopt(booster(objective)))
    found = outputs.compute(predictor, ROWS, outputs.parse(keys))
    return {output.name: output.values for output in found}


def raw(objective: str, **kind: bool) -> np.ndarray:
    data = xgb.DMatrix(ROWS, feature_names=list(NAMES))
    return booster(objective).predict(data, **kind)


ALL = "predicted_label,labels,probability,probabilities,raw_score,raw_scores,predicted_score"


def both(p: np.ndarray) -> np.ndarray:
    return np.stack([(1.0 - p.astype(np.float64)).astype(np.float32), p], axis=1)


# What AWS's image answers, from the raw prediction p; what is left out is NaN.
TABLE = {
    "binary:logistic": {
        "predicted_label": lambda p: p > 0.5,
        "labels": lambda p: [[0, 1]] * len(p),
        "probability": lambda p: p,
        "probabilities": both,
        "raw_score": lambda p: p,
        "raw_scores": both,
    },
    "binary:logitraw": {
        "predicted_label": lambda p: p > 0,
        "labels": lambda p: [[0, 1]] * len(p),
        "raw_score": lambda p: p,
        "raw_scores": both,
    },
    "binary:hinge": {
        "predicted_label": lambda p: p,
        "labels": lambda p: [[0, 1]] * len(p),
        "raw_score": lambda p: p,
        "raw_scores": both,
    },
    "multi:softmax": {
        "predicted_label": lambda p: p,
        "labels": lambda p: [[0, 1, 2]] * len(p),
        "raw_score": lambda p: p,
        "raw_scores": both,
    },
    "multi:softprob": {
        "predicted_label": lambda p: p.argmax(axis=1),
        "labels": lambda p: [[0, 1, 2]] * len(p),
        "probability": lambda p: p.max(axis=1),
        "probabilities": lambda p: p,
        "raw_score": lambda p: p.max(axis=1),
        "raw_scores": lambda p: p,
    },
    "reg:squarederror": {"predicted_score": lambda p: p},
    "count:poisson": {"predicted_score": lambda p: p},
}


@pytest.mark.parametrize("objective", TABLE)
def test_selectable_inference(objective):
    found = compute(objective, ALL)
    p = raw(objective)
    assert list(found) == ALL.split(",")
    for key, values in found.items():
        if key in TABLE[objective]:
            np.testing.assert_array_equal(values, TABLE[objective][key](p))
        else:
            assert values.shape == (7,)
            assert np.isnan(values).all()
    assert found["predicted_label"].dtype in (np.int64, np.float32)


@pytest.mark.parametrize("objective", ["reg:squarederror", "binary:logistic", "multi:softprob"])
def test_kinds_are_xgboosts_own(objective):
    found = compute(objective, "score,margin,leaf,contributions,interactions")
    np.testing.assert_array_equal(found["score"], raw(objective))
    np.testing.assert_array_equal(found["margin"], raw(objective, output_margin=True))
    np.testing.assert_array_equal(found["leaf"], raw(objective, pred_leaf=True))
    assert found["leaf"].dtype == np.int64
    np.testing.assert_array_equal(found["contributions"], raw(objective, pred_contribs=True))
    np.testing.assert_array_equal(found["interactions"], raw(objective, pred_interactions=True))


def test_contributions_have_names():
    predictor = Predictor(adopt(booster("reg:squarederror")))
    contributions, interactions = outputs.compute(
        predictor, ROWS, ("contributions", "interactions")
    )
    assert contributions.columns == interactions.columns == (*NAMES, "bias")
    assert (contributions.axes, interactions.axes) == (1, 2)


def test_a_model_without_leaves():
    linear = Predictor(adopt(booster("reg:squarederror", booster="gblinear")))
    with pytest.raises(BadRequestError, match="has no leaf for this model"):
        outputs.compute(linear, ROWS, ("leaf",))


@pytest.mark.parametrize(
    ("objective", "keys", "most"),
    [
        ("reg:squarederror", "score", 500),
        ("reg:squarederror", "leaf", 125),
        ("reg:squarederror", "contributions", 125),
        ("reg:squarederror", "interactions,score", 29),
        ("multi:softprob", "score", 166),
        ("multi:softprob", "leaf", 41),
        ("multi:softprob", "predicted_label,probabilities", 125),
    ],
)
def test_too_many_rows(objective, keys, most):
    predictor = Predictor(adopt(booster(objective)))
    outputs.check_size(predictor, most, outputs.parse(keys), 1000)
    with pytest.raises(RequestTooLargeError, match=f"send at most {most} rows"):
        outputs.check_size(predictor, most + 1, outputs.parse(keys), 1000)


def test_too_much_work():
    predictor = Predictor(adopt(booster("reg:squarederror")))
    with pytest.raises(RequestTooLargeError, match="send at most 500,000 rows"):
        outputs.check_size(predictor, 500_001, ("interactions",), 10**12)


def test_one_class():
    data = xgb.DMatrix(ROWS, np.zeros(len(ROWS)))
    only = xgb.train({"objective": "multi:softprob", "num_class": 1}, data, 2)
    found = outputs.compute(Predictor(adopt(only)), ROWS, outputs.parse("predicted_label,labels"))
    assert found[0].values.tolist() == [0] * 7


def test_parse():
    assert outputs.parse(" Predicted_Label, probability,predicted_label") == (
        "predicted_label",
        "probability",
    )
    with pytest.raises(ValueError, match="unknown output 'probabilty': did you mean 'probability'"):
        outputs.parse("probabilty")
    assert outputs.parse("margin,") == ("margin",)
    with pytest.raises(ValueError, match="unknown output ''"):
        outputs.parse(" , ")
    with pytest.raises(ValueError, match="known are score, predicted_label, labels"):
        outputs.parse("?")


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ("output=margin", ("margin",)),
        ("trace=7; Output = margin, leaf ;x=y", ("margin", "leaf")),
        ("trace-7", None),
        ("", None),
        ("outputs=margin", None),
    ],
)
def test_requested(attributes, expected):
    assert outputs.requested(attributes) == expected


def test_requested_unknown():
    with pytest.raises(BadRequestError, match="custom attributes: unknown output 'shap'"):
        outputs.requested("output=shap")
