"""One training of one booster: what is watched, when it stops, and which trees are kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xgboost as xgb

from mme_training.errors import AlgorithmError, TrainingError, UserError
from mme_training.hyperparameters.combinations import objective_of
from mme_training.hyperparameters.values import Hyperparameters
from mme_training.metrics import is_maximized, is_own, own_metric

TRAIN: Final = "train"
VALIDATION: Final = "validation"

History = Mapping[str, Mapping[str, Sequence[float]]]
"""By data set, by metric: the value after each round."""

Metric = Callable[[Any, xgb.DMatrix], Any]
"""Takes predictions and the matrix; returns a name and a value, or a list of such pairs."""

_PLACE = re.compile(r"^\[\d\d:\d\d:\d\d\] \S+?:\d+: ")
_CHECK = re.compile(r"^Check failed: .*?: (?=.)")


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained booster, cut back to its best round if it was trained to stop early."""

    booster: xgb.Booster
    history: History
    """Of the rounds trained now: those before a checkpoint are not in it."""
    scores: Mapping[str, Mapping[str, float]]
    """By data set, by metric: the value after the booster's last round."""


def fit(
    hyperparameters: Hyperparameters,
    training: xgb.DMatrix,
    validation: xgb.DMatrix | None = None,
    *,
    nthread: int | None = None,
    callbacks: Sequence[xgb.callback.TrainingCallback] = (),
    resume_from: xgb.Booster | None = None,
    objective: Callable[..., Any] | None = None,
    metric: Metric | None = None,
    log: bool = False,
) -> Fitted:
    """Train as ``xgb.train`` does with the same data and hyperparameters: the same bytes.

    With `validation` and `early_stopping_rounds` training stops once the last metric has not
    improved on `validation` for so many rounds, and the trees up to the best one are kept, so that
    a server that knows nothing of early stopping serves the best model. (gblinear has no trees to
    cut, and keeps its last round.)

    Args:
        hyperparameters: checked ones.
        training: what to learn from.
        validation: what to stop by, with the same columns.
        nthread: threads, where the hyperparameters leave them open; default: one for each CPU.
        callbacks: run after each round, after those of this function.
        resume_from: a booster of rounds already done; only the rest of `num_round` is trained, and
            the rounds without improvement are counted on.
        objective: in place of the hyperparameter, as XGBoost's `obj`.
        metric: besides the others, as XGBoost's `custom_metric`; it stops early if it is the last.
        log: whether to print each round's metrics, as SageMaker's tuning reads them.

    Raises:
        UserError: XGBoost refuses a hyperparameter's value or the data, in its own words.
        AlgorithmError: there was not enough memory.
    """
    done = resume_from.num_boosted_rounds() if resume_from else 0
    if objective_of(hyperparameters.booster) == "survival:aft":
        for matrix in (training, *([validation] if validation is not None else [])):
            _bound(matrix)
    history: dict[str, dict[str, list[float]]] = {}
    evals = [(training, TRAIN), *([(validation, VALIDATION)] if validation is not None else [])]
    own = custom_metric(hyperparameters, metric, objective is not None)
    try:
        booster = xgb.train(
            parameters(hyperparameters, nthread),
            training,
            num_boost_round=max(hyperparameters.num_round - done, 0),
            evals=evals,
            obj=objective,
            custom_metric=own,
            evals_result=history,
            verbose_eval=False,
            xgb_model=resume_from,
            callbacks=[
                *([Monitor(done)] if log else []),
                *(early_stopping(hyperparameters) if validation is not None else []),
                *callbacks,
            ],
        )
        last = booster.num_boosted_rounds() - 1 - done
        if last < 0:  # The best round was trained before: it is in no history.
            again = xgb.Booster(parameters(hyperparameters, nthread), model_file=booster)
            text = again.eval_set(evals, feval=own, output_margin=objective is not None)
            return Fitted(booster, history, _read_scores(text))
    except (xgb.core.XGBoostError, ValueError) as error:
        raise explain(error) from error
    return Fitted(booster, history, _scores(history, last))


def parameters(hyperparameters: Hyperparameters, nthread: int | None = None) -> dict[str, Any]:
    """What ``xgb.train`` takes as `params`."""
    given = {"nthread": nthread} if nthread else {}
    known = [name for name in hyperparameters.eval_metric if not is_own(name)]
    return {**given, **hyperparameters.booster, **({"eval_metric": known} if known else {})}


def custom_metric(
    hyperparameters: Hyperparameters, metric: Metric | None = None, margins: bool = False
) -> Metric | None:
    """One function for all metrics that XGBoost does not have itself; None if there are none.

    With `margins` XGBoost hands over margins, as it does with an objective of the caller's own.
    """
    objective = None if margins else objective_of(hyperparameters.booster)
    metrics = [own_metric(name, objective) for name in hyperparameters.eval_metric if is_own(name)]
    if metric:
        metrics.append(metric)
    if not metrics:
        return None

    def evaluate(predictions: Any, matrix: xgb.DMatrix) -> list[tuple[str, float]]:
        results = []
        for function in metrics:
            result = function(predictions, matrix)
            results += result if isinstance(result, list) else [result]
        return results

    return evaluate


def early_stopping(hyperparameters: Hyperparameters) -> list[xgb.callback.TrainingCallback]:
    """The callback that ends training early, if the hyperparameters ask for it."""
    if hyperparameters.early_stopping_rounds is None:
        return []
    name = hyperparameters.eval_metric[-1] if hyperparameters.eval_metric else None
    return [
        EarlyStopping(
            rounds=hyperparameters.early_stopping_rounds,
            metric_name=name,
            data_name=VALIDATION,
            maximize=is_maximized(name) if name else None,
            save_best=hyperparameters.booster.get("booster") != "gblinear",
        )
    ]


class EarlyStopping(xgb.callback.EarlyStopping):
    """XGBoost's own, but a booster that was watched by it before goes on from its best score."""

    _before: float | None = None
    """The best score of the rounds before."""

    def before_training(self, model: xgb.Booster) -> xgb.Booster:
        """Take over what `model` says of its best round."""
        model = super().before_training(model)
        best, iteration = model.attr("best_score"), model.attr("best_iteration")
        if best is not None and iteration is not None:
            self._before = float(best)
            self.current_rounds = model.num_boosted_rounds() - 1 - int(iteration)
        return model

    def before_iteration(self, model: xgb.Booster, epoch: int, evals_log: Any) -> bool:
        """End before the first round if the rounds before were enough."""
        return self.current_rounds >= self.rounds

    def after_iteration(self, model: xgb.Booster, epoch: int, evals_log: Any) -> bool:
        """Compare the first round too with the best one before."""
        if self._before is not None and not self.stopping_history:
            # Only now there is a name for the objective's own metric.
            name, data = self.metric_name, str(self.data)
            metric = list(evals_log[data])[-1] if name is None else name
            self.stopping_history = {data: {metric: [self._before]}}
            self.best_scores = {data: {metric: [self._before]}}
        return bool(super().after_iteration(model, epoch, evals_log))

    def after_training(self, model: xgb.Booster) -> xgb.Booster:
        """Cut back to the best round, if one is known: not if no round of these was watched."""
        return model if model.attr("best_iteration") is None else super().after_training(model)


class Monitor(xgb.callback.EvaluationMonitor):
    """Prints ``[round]<tab>train-rmse:0.5<tab>validation-rmse:0.6``, `done` rounds on.

    Of several hosts the one of rank 0 prints: XGBoost's own way leads to its tracker's stderr.
    """

    def __init__(self, done: int = 0) -> None:
        super().__init__(logger=_print)
        self._done = done

    def after_iteration(self, model: xgb.Booster, epoch: int, evals_log: Any) -> bool:
        """Print one line."""
        return bool(super().after_iteration(model, epoch + self._done, evals_log))


def _print(line: str) -> None:
    print(line.rstrip(), flush=True)  # noqa: T201 - SageMaker reads metrics from what is printed


def explain(error: xgb.core.XGBoostError | ValueError) -> TrainingError:
    """What XGBoost says, without the place in its source and without its stack."""
    text = str(error).partition("Stack trace:")[0].strip().splitlines()
    reason = _CHECK.sub("", _PLACE.sub("", text[0] if text else "no reason given")).rstrip(".")
    if "bad_alloc" in reason or "out of memory" in reason.lower():
        return AlgorithmError(
            f"there was not enough memory to train ({reason}): use an instance with more, or "
            "fewer rows"
        )
    return UserError(f"XGBoost refuses to train: {reason}")


def _bound(matrix: xgb.DMatrix) -> None:
    """Make bounds of labels, as survival:cox has them: a negative one is censored on the right."""
    if matrix.get_float_info("label_lower_bound").size:
        return
    label = matrix.get_label()
    matrix.set_info(
        label_lower_bound=np.abs(label), label_upper_bound=np.where(label < 0, np.inf, label)
    )


def _scores(history: History, last: int) -> dict[str, dict[str, float]]:
    return {
        data: {name: float(values[last]) for name, values in metrics.items()}
        for data, metrics in history.items()
    }


def _read_scores(text: str) -> dict[str, dict[str, float]]:
    """What XGBoost says of a booster: ``[0]<tab>train-rmse:0.5<tab>validation-rmse:0.6``."""
    scores: dict[str, dict[str, float]] = {}
    for item in text.split()[1:]:
        name, _, value = item.rpartition(":")
        data, _, metric = name.partition("-")
        scores.setdefault(data, {})[metric] = float(value)
    return scores
