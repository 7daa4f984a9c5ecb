"""Ensembles: the mean, and the vote."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from mme_handler.errors import ModelLoadError
from mme_handler.models.booster import adopt
from mme_handler.models.ensemble import Ensemble
from mme_handler.models.predictor import Predictor

RNG = np.random.default_rng(3)
X = RNG.normal(size=(300, 4)).astype(np.float32)
ROWS = RNG.normal(size=(50, 4)).astype(np.float32)


def member(objective: str, seed: int, columns: int = 4) -> Predictor:
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, len(X), 80)
    y = np.digitize(X[:, 0] + X[:, 1], [-1, 1]).astype(float)
    parameters: dict[str, object] = {"objective": objective, "max_depth": 2}
    if objective.startswith("multi"):
        parameters["num_class"] = 3
    if objective.startswith("binary"):
        y = (y > 1).astype(float)
    data = xgb.DMatrix(X[chosen, :columns], y[chosen])
    return Predictor(adopt(xgb.train(parameters, data, 3)))


@pytest.mark.parametrize("objective", ["reg:squarederror", "binary:logistic", "multi:softprob"])
def test_mean(objective):
    members = [member(objective, seed) for seed in range(3)]
    ensemble = Ensemble(members)
    expected = np.mean([m.predict(ROWS) for m in members], axis=0)
    assert ensemble.predict(ROWS).dtype == np.float32
    np.testing.assert_array_equal(ensemble.predict(ROWS), expected)


@pytest.mark.parametrize("objective", ["multi:softmax", "binary:hinge"])
def test_vote(objective):
    members = [member(objective, seed) for seed in range(4)]
    ensemble = Ensemble(members)
    votes = np.stack([m.predict(ROWS) for m in members]).astype(int)
    expected = [np.bincount(column).argmax() for column in votes.T]  # the lower of equals
    assert ensemble.predict(ROWS).tolist() == expected
    assert any(len(set(column)) > 1 for column in votes.T), "they agree on all: no test of a vote"


def test_explanations():
    members = [member("reg:squarederror", seed) for seed in range(2)]
    ensemble = Ensemble(members)
    leaves = [m.explain(ROWS, "leaf") for m in members]
    np.testing.assert_array_equal(ensemble.explain(ROWS, "leaf"), np.concatenate(leaves, axis=1))
    contributions = ensemble.explain(ROWS, "contributions")
    assert contributions.shape == (50, 5)
    np.testing.assert_allclose(contributions.sum(axis=1), ensemble.predict(ROWS), rtol=1e-4)


def test_members_with_other_categories():
    def categorical(*names: str) -> Predictor:
        table = pd.DataFrame({"colour": pd.Categorical(list(names) * 40, categories=names)})
        labels = (table["colour"] == "red").astype(float)
        data = xgb.DMatrix(table, labels, enable_categorical=True)
        return Predictor(adopt(xgb.train({"max_depth": 2}, data, 2)))

    with pytest.raises(ModelLoadError, match="their categories differ"):
        Ensemble([categorical("red", "blue"), categorical("blue", "red")])


def test_members_that_do_not_fit():
    with pytest.raises(ModelLoadError, match="their features differ"):
        Ensemble([member("reg:squarederror", 0), member("reg:squarederror", 0, columns=3)])
    with pytest.raises(ModelLoadError, match="their objective differ"):
        Ensemble([member("reg:squarederror", 0), member("reg:absoluteerror", 0)])
