from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from mme_training.houses import FEATURES, LABEL, make_houses
from mme_training.split import Split, split
from mme_training.train import EARLY_STOPPING_ROUNDS, HYPERPARAMETERS, NUM_BOOST_ROUND, rmse, train


@pytest.fixture(scope="module")
def parts() -> Split:
    return split(make_houses("Phoenix_AZ"), 1)


@pytest.fixture(scope="module")
def misleading(parts: Split) -> pd.DataFrame:
    """Validation rows whose prices are shuffled, so that the best round comes early."""
    validation = parts.validation.copy()
    validation[LABEL] = np.random.default_rng(1).permutation(validation[LABEL])
    return validation


def matrix(frame: pd.DataFrame) -> xgb.DMatrix:
    return xgb.DMatrix(frame[list(FEATURES)], label=frame[LABEL], nthread=1)


def test_hyperparameters_are_those_documented() -> None:
    assert HYPERPARAMETERS == {
        "objective": "reg:squarederror",
        "max_depth": 5,
        "eta": 0.2,
        "gamma": 4,
        "min_child_weight": 6,
        "subsample": 0.8,
        "seed": 2019,
    }
    assert NUM_BOOST_ROUND == 25
    assert EARLY_STOPPING_ROUNDS == 5


def test_training_equals_calling_xgboost_directly(parts: Split) -> None:
    direct = xgb.train(
        {**HYPERPARAMETERS, "nthread": 1},
        matrix(parts.train),
        25,
        evals=[(matrix(parts.validation), "validation")],
        callbacks=[xgb.callback.EarlyStopping(rounds=5, save_best=True)],
        verbose_eval=False,
    )
    model = train(parts.train, parts.validation)
    assert model.booster.save_raw("ubj") == direct.save_raw("ubj")


def test_error_is_far_below_the_spread_of_prices(parts: Split) -> None:
    model = train(parts.train, parts.validation)
    assert rmse(model.booster, parts.test) < parts.test[LABEL].std() / 4


def test_error_is_that_of_the_predictions(parts: Split) -> None:
    booster = train(parts.train, parts.validation).booster
    wrong_by = booster.predict(matrix(parts.test)) - parts.test[LABEL]
    assert rmse(booster, parts.test) == pytest.approx((wrong_by**2).mean() ** 0.5)


def test_only_the_trees_up_to_the_best_round_are_kept(
    parts: Split, misleading: pd.DataFrame
) -> None:
    curve: dict[str, dict[str, list[float]]] = {}
    xgb.train(
        {**HYPERPARAMETERS, "nthread": 1},
        matrix(parts.train),
        25,
        evals=[(matrix(misleading), "validation")],
        evals_result=curve,
        verbose_eval=False,
    )
    errors = curve["validation"]["rmse"]

    model = train(parts.train, misleading)

    assert model.rounds == int(np.argmin(errors)) + 1 < 25
    assert model.booster.num_boosted_rounds() == model.rounds
    assert model.validation_rmse == pytest.approx(min(errors))
    assert rmse(model.booster, misleading) == pytest.approx(model.validation_rmse, rel=1e-5)


def test_hyperparameters_can_be_replaced(parts: Split) -> None:
    stump = train(parts.train, parts.validation, {**HYPERPARAMETERS, "max_depth": 1})
    assert stump.booster.trees_to_dataframe().groupby("Tree").size().max() == 3


def test_the_model_remembers_its_features(parts: Split) -> None:
    model = train(parts.train, parts.validation)
    assert model.booster.feature_names == list(FEATURES)


def test_empty_parts_are_refused(parts: Split) -> None:
    nothing = parts.train.head(0)
    with pytest.raises(ValueError, match="no rows"):
        train(nothing, parts.validation)
    with pytest.raises(ValueError, match="no rows"):
        train(parts.train, nothing)
