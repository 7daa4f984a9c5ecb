"""How one model is trained: the hyperparameters, when to stop, and which trees are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
import xgboost as xgb

from mme_training.houses import FEATURES, LABEL, SEED

HYPERPARAMETERS: Final[Mapping[str, Any]] = {
    "objective": "reg:squarederror",
    "max_depth": 5,
    "eta": 0.2,
    "gamma": 4,
    "min_child_weight": 6,
    "subsample": 0.8,
    "seed": SEED,
}
NUM_BOOST_ROUND: Final = 25
EARLY_STOPPING_ROUNDS: Final = 5


@dataclass(frozen=True)
class TrainedModel:
    """A booster cut back to its best round, that number of rounds, and its error in dollars."""

    booster: xgb.Booster
    rounds: int
    validation_rmse: float


def train(
    training: pd.DataFrame,
    validation: pd.DataFrame,
    hyperparameters: Mapping[str, Any] = HYPERPARAMETERS,
    nthread: int = 1,
) -> TrainedModel:
    """Train on `training` and stop once `validation` has not improved for five rounds.

    Both tables have the columns `FEATURES` and `LABEL`. The booster keeps the trees up to the
    best round only, so that a server that knows nothing of early stopping serves the best ones.
    It remembers the names of the features. The same input gives the same booster, to the byte.

    Raises:
        ValueError: a table is empty.
        KeyError: a column is missing.
        xgboost.core.XGBoostError: a hyperparameter has a value that XGBoost refuses.
    """
    best = xgb.callback.EarlyStopping(rounds=EARLY_STOPPING_ROUNDS, save_best=True)
    booster = xgb.train(
        {**hyperparameters, "nthread": nthread},
        _matrix(training, nthread),
        num_boost_round=NUM_BOOST_ROUND,
        evals=[(_matrix(validation, nthread), "validation")],
        callbacks=[best],
        verbose_eval=False,
    )
    return TrainedModel(booster, booster.num_boosted_rounds(), booster.best_score)


def rmse(booster: xgb.Booster, houses: pd.DataFrame) -> float:
    """Return the root mean squared error of `booster` on `houses`, in dollars.

    Raises:
        ValueError: `houses` is empty, or the booster was trained on other features.
        KeyError: a column is missing.
    """
    errors = booster.predict(_matrix(houses)) - houses[LABEL].to_numpy(dtype=np.float64)
    return float(np.sqrt(np.mean(errors**2)))


def _matrix(houses: pd.DataFrame, nthread: int = 1) -> xgb.DMatrix:
    if houses.empty:
        raise ValueError("there are no rows; from three rows on each part of a split has some")
    return xgb.DMatrix(houses[list(FEATURES)], label=houses[LABEL], nthread=nthread)
