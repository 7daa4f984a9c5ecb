from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from mme_training.errors import AlgorithmError, UserError
from mme_training.fit import explain, fit
from mme_training.hyperparameters.values import Hyperparameters

RANDOM = np.random.default_rng(11)
FEATURES = RANDOM.normal(size=(400, 4)).astype(np.float32)
TARGET = FEATURES[:, 0] * 3 + RANDOM.normal(size=400) + np.where(FEATURES[:, 1] > 0, 5, 0)


def _matrix(start: int, end: int, label: Any = TARGET) -> xgb.DMatrix:
    return xgb.DMatrix(FEATURES[start:end], np.asarray(label)[start:end], nthread=1)


def _hyperparameters(num_round: int = 20, **booster: Any) -> Hyperparameters:
    return Hyperparameters({"seed": 3, "subsample": 0.7, **booster}, num_round)


def test_the_bytes_are_those_of_xgboost_itself() -> None:
    direct = xgb.train({"seed": 3, "subsample": 0.7, "nthread": 1}, _matrix(0, 300), 20)
    fitted = fit(_hyperparameters(), _matrix(0, 300), nthread=1)
    assert fitted.booster.save_raw("ubj") == direct.save_raw("ubj")
    assert fitted.scores == {"train": {"rmse": fitted.history["train"]["rmse"][-1]}}


def test_the_scores_are_those_of_the_round_that_is_kept() -> None:
    hyperparameters = Hyperparameters(
        {"eta": 0.9}, 300, early_stopping_rounds=4, eval_metric=("mae", "rmse")
    )
    fitted = fit(hyperparameters, _matrix(0, 300), _matrix(300, 400))
    history = fitted.history["validation"]["rmse"]
    best = int(np.argmin(history))
    assert fitted.booster.num_boosted_rounds() == best + 1 == len(history) - 4
    assert fitted.scores["validation"]["rmse"] == min(history)
    assert fitted.scores["train"]["mae"] == fitted.history["train"]["mae"][best]


def test_the_last_metric_stops_and_one_that_grows_is_known() -> None:
    label = TARGET > 2.5
    hyperparameters = Hyperparameters(
        {"objective": "binary:logistic", "eta": 0.9},
        300,
        early_stopping_rounds=4,
        eval_metric=("logloss", "accuracy"),
    )
    fitted = fit(hyperparameters, _matrix(0, 300, label), _matrix(300, 400, label))
    accuracy = fitted.history["validation"]["accuracy"]
    predicted = fitted.booster.predict(_matrix(300, 400)) > 0.5
    assert fitted.scores["validation"]["accuracy"] == max(accuracy)
    assert fitted.scores["validation"]["accuracy"] == np.mean(predicted == label[300:])
    assert fitted.scores["validation"]["accuracy"] > 0.8


def test_a_linear_booster_stops_early_too() -> None:
    hyperparameters = Hyperparameters(
        {"booster": "gblinear", "eta": 1.0}, 500, early_stopping_rounds=2
    )
    fitted = fit(hyperparameters, _matrix(0, 300), _matrix(300, 400))
    assert len(fitted.history["validation"]["rmse"]) < 500


def test_a_metric_of_the_callers_own_is_logged_with_the_others(capsys) -> None:
    def metric(predictions: Any, matrix: xgb.DMatrix) -> tuple[str, float]:
        return "worst", float(np.abs(predictions - matrix.get_label()).max())

    hyperparameters = Hyperparameters({}, 2, eval_metric=("mae", "mse"))
    fitted = fit(hyperparameters, _matrix(0, 300), _matrix(300, 400), metric=metric, log=True)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["[0]", "[1]"]
    assert [part.split(":")[0] for part in lines[0].split("\t")[1:]] == [
        f"{data}-{name}" for data in ("train", "validation") for name in ("mae", "mse", "worst")
    ]
    assert fitted.scores["validation"]["mse"] == pytest.approx(
        np.mean((fitted.booster.predict(_matrix(300, 400)) - TARGET[300:]) ** 2), rel=1e-5
    )


def test_what_xgboost_refuses_is_said_in_its_words_and_without_its_stack() -> None:
    hyperparameters = Hyperparameters({"objective": "count:poisson"}, 1)
    with pytest.raises(UserError) as error:
        fit(hyperparameters, _matrix(0, 300, -np.ones(400)))
    assert str(error.value) == (
        "XGBoost refuses to train: label must be non-negative for Poisson/Tweedie regression"
    )


def test_what_its_python_refuses_too() -> None:
    hyperparameters = Hyperparameters({"monotone_constraints": {"NAME": 1}}, 1)
    with pytest.raises(UserError, match="XGBoost refuses to train: Constrained features"):
        fit(hyperparameters, _matrix(0, 300))


def test_a_class_is_told_without_the_objectives_name() -> None:
    label = np.digitize(TARGET, [1, 4])
    hyperparameters = Hyperparameters({"num_class": 3}, 9, eval_metric=("merror", "accuracy"))
    scores = fit(hyperparameters, _matrix(0, 300, label)).scores["train"]
    assert scores["accuracy"] == pytest.approx(1 - scores["merror"])


def test_negative_times_of_survival_are_censored() -> None:
    times = np.abs(TARGET) + 0.1
    censored = np.where(FEATURES[:, 2] > 1, -times, times)
    lower, upper = times, np.where(censored < 0, np.inf, times)
    matrix = xgb.DMatrix(
        FEATURES[:300], label_lower_bound=lower[:300], label_upper_bound=upper[:300], nthread=1
    )
    parameters = {"objective": "survival:aft", "nthread": 1}
    direct = xgb.train(parameters, matrix, 10)
    hyperparameters = Hyperparameters({"objective": "survival:aft"}, 10)
    fitted = fit(hyperparameters, _matrix(0, 300, censored), nthread=1)
    test = _matrix(300, 400)
    np.testing.assert_array_equal(fitted.booster.predict(test), direct.predict(test))


def test_a_lack_of_memory_is_no_mistake_of_the_data() -> None:
    error = explain(xgb.core.XGBoostError("std::bad_alloc"))
    assert isinstance(error, AlgorithmError)
    assert "use an instance with more" in str(error)


def test_a_booster_that_is_done_is_returned_as_it_is() -> None:
    first = fit(_hyperparameters(5), _matrix(0, 300))
    again = fit(_hyperparameters(5), _matrix(0, 300), resume_from=first.booster)
    assert again.booster.save_raw("ubj") == first.booster.save_raw("ubj")
    assert again.scores == {"train": pytest.approx(first.scores["train"])}


def _watched(num_round: int, *metrics: str) -> Hyperparameters:
    return Hyperparameters({"eta": 0.9}, num_round, early_stopping_rounds=8, eval_metric=metrics)


def _without_cutting(num_round: int) -> xgb.Booster:
    """The booster as a checkpoint has it: with its best round, and with those after it."""
    stop = xgb.callback.EarlyStopping(rounds=8, data_name="validation")
    evals = [(_matrix(300, 400), "validation")]
    return xgb.train({"eta": 0.9}, _matrix(0, 300), num_round, evals=evals, callbacks=[stop])


@pytest.mark.parametrize("metrics", [(), ("rmse",)])
def test_patience_is_counted_on_with_the_objectives_own_metric_too(metrics: Any) -> None:
    whole = fit(_watched(300, *metrics), _matrix(0, 300), _matrix(300, 400), nthread=1)
    best = whole.booster.num_boosted_rounds()
    again = fit(
        _watched(300, *metrics),
        _matrix(0, 300),
        _matrix(300, 400),
        nthread=1,
        resume_from=_without_cutting(best + 3),
    )
    assert again.booster.num_boosted_rounds() == best
    assert len(again.history["validation"]["rmse"]) == 5
    for data in ("train", "validation"):
        assert again.scores[data]["rmse"] == pytest.approx(whole.scores[data]["rmse"], rel=1e-5)


def test_what_had_ended_before_the_checkpoint_is_not_trained_on() -> None:
    ended = _without_cutting(300)
    again = fit(_watched(300), _matrix(0, 300), _matrix(300, 400), resume_from=ended)
    assert not again.history
    assert again.booster.num_boosted_rounds() == ended.num_boosted_rounds() - 8
    assert set(again.scores) == {"train", "validation"}


def test_all_rounds_done_before_have_their_scores() -> None:
    first = fit(_hyperparameters(), _matrix(0, 300), _matrix(300, 400))
    again = fit(
        Hyperparameters(
            {"seed": 3, "subsample": 0.7}, 20, early_stopping_rounds=3, eval_metric=("mse", "rmse")
        ),
        _matrix(0, 300),
        _matrix(300, 400),
        resume_from=first.booster,
    )
    assert again.booster.num_boosted_rounds() == 20
    assert again.scores["validation"]["rmse"] == pytest.approx(first.scores["validation"]["rmse"])
    assert again.scores["train"]["mse"] == pytest.approx(again.scores["train"]["rmse"] ** 2, 1e-4)
