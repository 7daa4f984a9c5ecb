from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mme_training.houses import FEATURES, HYPERPARAMETERS, LABEL
from support.reports import houses, train


@pytest.fixture(scope="session")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five models of house prices, and a segment that is too small."""
    return train(houses(), tmp_path_factory.mktemp("report") / "out", HYPERPARAMETERS)


@pytest.fixture(scope="session")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of whether a house is dear."""
    table = houses()
    table[LABEL] = (table[LABEL] > 400_000).astype(int)
    given = {"objective": "binary:logistic", "num_round": 3, "eval_metric": "auc,logloss,auc"}
    return train(table, tmp_path_factory.mktemp("report") / "binary", given)


@pytest.fixture(scope="session")
def multiclass(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of the third that a price is in, with a probability for each."""
    table = houses()
    table[LABEL] = np.digitize(table[LABEL], [380_000, 450_000])
    given = {"objective": "multi:softprob", "num_class": 3, "num_round": 3}
    return train(table, tmp_path_factory.mktemp("report") / "multiclass", given)


@pytest.fixture(scope="session")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """No model at all."""
    table = pd.DataFrame({"city": ["a", "b"], LABEL: [1, 2], **dict.fromkeys(FEATURES, 0)})
    return train(table, tmp_path_factory.mktemp("report") / "failed", HYPERPARAMETERS)
