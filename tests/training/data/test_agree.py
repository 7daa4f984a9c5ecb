from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from mme_training.data.agree import agree
from mme_training.data.dataset import Dataset
from mme_training.errors import UserError


def dataset(features, labels: int = 1) -> Dataset:
    rows = len(features)
    return Dataset(features, np.zeros(rows if labels == 1 else (rows, labels), np.float32))


def towns(*names: str | None, categories: list[str] | None = None) -> pd.Categorical:
    return pd.Categorical(names, categories=categories)


def test_categories_become_those_of_training(caplog) -> None:
    training = dataset(pd.DataFrame({"x": [1.0, 2], "town": towns("Ulm", "Rome")}))
    validation = dataset(
        pd.DataFrame(
            {
                "x": [1.0, 2, 3],
                "town": towns("Ulm", "Bonn", None, categories=["Bonn", "Ulm", "Kiel"]),
            }
        )
    )
    agreed = agree(validation, training).features
    assert list(agreed["town"].cat.categories) == ["Rome", "Ulm"]
    assert agreed["town"].cat.codes.tolist() == [1, -1, -1]
    assert caplog.messages == [
        "column 'town' of the validation channel has categories that the training channel does "
        "not have, taken as missing: 'Bonn'"
    ]


def test_xgboost_takes_what_was_made_to_agree() -> None:
    generator = np.random.default_rng(0)
    train, other = ["a", "b", "c"], ["d", "c", "b"]
    parts = []
    for names in (train, other):
        town = generator.choice(names, 50)
        frame = pd.DataFrame({"town": pd.Categorical(town, categories=names)})
        parts.append(Dataset(frame, (town == "b").astype(np.float32)))
    training, validation = parts
    history: dict = {}

    def fit(matrix: xgb.DMatrix) -> float:
        xgb.train(
            {},
            training.matrix(1),
            20,
            evals=[(matrix, "validation")],
            evals_result=history,
            verbose_eval=False,
        )
        return history["validation"]["rmse"][-1]

    with pytest.raises(xgb.core.XGBoostError, match="category not in the training set"):
        fit(validation.matrix(1))
    # Rows of the town that training has not are scored as missing; the others are known.
    known = np.flatnonzero(validation.features["town"] != "d")
    assert fit(agree(validation, training).take(known).matrix(1)) < 0.01


def test_columns_take_the_order_of_training() -> None:
    training = dataset(pd.DataFrame({"a": [1.0], "b": [2.0]}))
    validation = dataset(pd.DataFrame({"b": [3.0], "a": [4.0]}))
    agreed = agree(validation, training).features
    assert list(agreed.columns) == ["a", "b"]
    assert agreed.to_numpy().tolist() == [[4, 3]]


def test_arrays_are_left_as_they_are() -> None:
    training = dataset(np.zeros((2, 3), np.float32))
    assert agree(training, training) is training


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (
            pd.DataFrame({"x": [1.0], "y": [2.0]}),
            1,
            "columns are in the training channel alone: 'town'",
        ),
        (
            pd.DataFrame({"x": [1.0], "town": towns("Ulm"), "z": [1.0]}),
            1,
            "columns are in the validation channel alone: 'z'",
        ),
        (
            pd.DataFrame({"x": [1.0], "town": [2.0]}),
            1,
            "column 'town' holds numbers in the validation channel and categories in the training "
            "channel",
        ),
        (
            np.zeros((1, 3), np.float32),
            1,
            "the validation channel has 3 features, the training channel has 2",
        ),
        (
            pd.DataFrame({"x": [1.0], "town": towns("Ulm")}),
            2,
            "the validation channel has another number of labels than the training one",
        ),
    ],
)
def test_what_does_not_agree(features, labels: int, message: str) -> None:
    training = dataset(pd.DataFrame({"x": [1.0], "town": towns("Ulm")}))
    with pytest.raises(UserError) as caught:
        agree(dataset(features, labels), training)
    assert str(caught.value) == message


def test_queries_in_training_alone_are_refused() -> None:
    rows = np.zeros((3, 2), np.float32)
    training = Dataset(rows, rows[:, 0], qid=np.array([1, 1, 2], np.uint32))
    with pytest.raises(UserError, match="query ids, those of the validation channel have none"):
        agree(Dataset(rows, rows[:, 0]), training)


def test_a_column_of_nothing_but_nulls_has_the_categories_of_training() -> None:
    training = dataset(pd.DataFrame({"town": towns("Ulm", "Rome")}))
    agreed = agree(dataset(pd.DataFrame({"town": np.full(3, np.nan)})), training)
    assert isinstance(agreed.features, pd.DataFrame)
    assert agreed.features["town"].isna().all()
    assert list(agreed.features["town"].cat.categories) == ["Rome", "Ulm"]
