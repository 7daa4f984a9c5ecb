"""The metrics that a training can log: XGBoost's, and those of AWS's image by scikit-learn."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mme_training.errors import UserError

if TYPE_CHECKING:  # It takes over a second, and whoever only checks hyperparameters needs none.
    import xgboost as xgb

Evaluation: TypeAlias = "Callable[[NDArray[np.float32], xgb.DMatrix], tuple[str, float]]"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; `suffix` says what may follow its name."""

    name: str
    maximized: bool
    meaning: str
    suffix: Literal["", "@threshold", "@power", "@ratio", "@n-"] = ""
    own: bool = False
    """Whether this package computes it: XGBoost does not know it."""


_LIST: Final = (
    Metric("aft-nloglik", False, "negative log likelihood of `survival:aft`"),
    Metric("ams", True, "approximate median significance, of the best `ratio` of rows", "@ratio"),
    Metric("auc", True, "area under the ROC curve"),
    Metric("aucpr", True, "area under the precision-recall curve"),
    Metric("cox-nloglik", False, "negative partial log likelihood of `survival:cox`"),
    Metric("error", False, "share of wrong classes, of two; above 0.5 is 1", "@threshold"),
    Metric("gamma-deviance", False, "residual deviance of gamma regression"),
    Metric("gamma-nloglik", False, "negative log likelihood of gamma regression"),
    Metric("interval-regression-accuracy", True, "share of predictions within the label's bounds"),
    Metric("logloss", False, "negative log likelihood, of two classes"),
    Metric("mae", False, "mean absolute error"),
    Metric("map", True, "mean average precision of the first `n` of each query", "@n-"),
    Metric("mape", False, "mean absolute error as a share of the label"),
    Metric("merror", False, "share of wrong classes, of many"),
    Metric("mlogloss", False, "negative log likelihood, of many classes"),
    Metric("mphe", False, "mean pseudo-Huber error"),
    Metric("ndcg", True, "normalized discounted gain of the first `n` of each query", "@n-"),
    Metric("poisson-nloglik", False, "negative log likelihood of Poisson regression"),
    Metric("pre", True, "precision of the first `n` of each query", "@n-"),
    Metric("quantile", False, "pinball loss at `quantile_alpha`"),
    Metric("rmse", False, "root of the mean squared error"),
    Metric("rmsle", False, "root of the mean squared error of the logarithms"),
    Metric("tweedie-nloglik", False, "negative log likelihood of Tweedie regression", "@power"),
    Metric("accuracy", True, "share of right classes", own=True),
    Metric("balanced_accuracy", True, "mean of the classes' recalls", own=True),
    Metric("f1", True, "as `f1_macro`", own=True),
    Metric("f1_binary", True, "F1 of class 1, of two", own=True),
    Metric("f1_macro", True, "mean of the classes' F1", own=True),
    Metric("mse", False, "mean squared error", own=True),
    Metric("precision", True, "precision of class 1, of two", own=True),
    Metric("precision_macro", True, "mean of the classes' precisions", own=True),
    Metric("precision_micro", True, "precision over all classes", own=True),
    Metric("r2", True, "share of the label's variance that is explained", own=True),
    Metric("recall", True, "recall of class 1, of two", own=True),
    Metric("recall_macro", True, "mean of the classes' recalls", own=True),
    Metric("recall_micro", True, "recall over all classes", own=True),
)
METRICS: Final = {metric.name: metric for metric in _LIST}
"""Every metric, by its name without what may follow it."""

OF_NUMBERS: Final = ("mse", "r2")
"""Own metrics that compare predictions with labels; the other own ones compare classes."""
OF_TWO_CLASSES: Final = ("f1_binary", "precision", "recall")

_PARTS = re.compile(r"([a-z0-9_-]*?[a-z0-9_])(@([^@]*?))?(-?)")
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


def is_own(name: str) -> bool:
    """Whether `own_metric` computes it."""
    metric = METRICS.get(base(name))
    return metric is not None and metric.own


def is_maximized(name: str) -> bool:
    """Whether more of it is better; of a metric that is not known, less is."""
    metric = METRICS.get(base(name))
    return metric is not None and metric.maximized


def base(name: str) -> str:
    """The name without what follows it: ``ndcg`` of ``ndcg@5-``."""
    return name.partition("@")[0].rstrip("-")


def canonical(name: str) -> str:
    """The name under which XGBoost logs a metric: ``error@0.7`` of ``error@.70``.

    Raises:
        ValueError: there is no such metric, or what follows its name is wrong. The message goes on
            after the hyperparameter's name.
    """
    metric = METRICS.get(name) or METRICS.get(base(name))
    parts = _PARTS.fullmatch(name)
    if metric is None or parts is None:
        nearest = get_close_matches(base(name), METRICS, n=1)
        raise ValueError(
            f"has no metric {name[:60]!r}" + (f"; did you mean {nearest[0]!r}?" if nearest else "")
        )
    text, minus = parts[3], parts[4]
    if metric.suffix == "@n-":
        return metric.name + (f"@{_count(name, text)}" if text is not None else "") + minus
    if minus or (text is not None and not metric.suffix):
        raise ValueError(f"has {metric.name!r}, which takes nothing after its name, not {name!r}")
    if metric.suffix == "@ratio" and text is None:
        raise ValueError(f"has {name!r}, which needs a ratio as in '{name}@0.15'")
    if text is None:
        return metric.name
    return metric.name + _number(metric, name, text)


def own_metric(name: str, objective: str | None = None) -> Evaluation:
    """A function for XGBoost's `custom_metric`: of predictions and matrix, gives name and value.

    Rows count by the matrix's weights. What XGBoost predicts, and so where a class begins, depends
    on `objective`: its name, or None where it is a function of the user's own, whose predictions
    are margins.

    The function raises UserError if the metric cannot be computed for such labels or predictions.
    """

    def evaluate(predictions: NDArray[np.float32], matrix: xgb.DMatrix) -> tuple[str, float]:
        label = matrix.get_label()
        weight = matrix.get_weight()
        guess = predictions if name in OF_NUMBERS else classes(predictions, objective)
        try:
            if name not in OF_NUMBERS and label.shape != guess.shape:
                raise ValueError(
                    f"predictions of shape {guess.shape} do not fit labels of shape {label.shape}"
                )
            return name, float(_score(name, label, guess, weight if weight.size else None))
        except ValueError as error:
            raise UserError(f"metric {name!r} cannot be computed: {error}") from error

    return evaluate


def classes(predictions: NDArray[np.float32], objective: str | None) -> NDArray[np.int64]:
    """The class that each prediction means; `objective` as for `own_metric`."""
    if objective == "multi:softmax":
        return predictions.astype(np.int64)
    if predictions.ndim == 2 and (objective is None or objective.startswith("multi:")):
        return np.asarray(np.argmax(predictions, axis=1), np.int64)
    margins = objective is None or objective == "binary:logitraw"
    return np.asarray(predictions > (0.0 if margins else 0.5), np.int64)


def metric_definitions() -> list[dict[str, str]]:
    """What a SageMaker estimator takes as `metric_definitions`: ``validation:rmse`` and the rest.

    The names are those of AWS's own algorithm, and as many as a training job may have. The regular
    expressions read its log, where a tab is ``#011``, and that of a container such as this.
    """
    return [
        {
            "Name": f"validation:{metric.name}",
            "Regex": r".*\[[0-9]+\].*(?:#011|\t)validation-"
            + f"{metric.name}{_SUFFIXED.get(metric.suffix, '')}"
            + r":([^\s#]+)",
        }
        for metric in METRICS.values()
    ]


# What XGBoost never logs without its number; of the others each number is a metric of its own.
_SUFFIXED: Final = {"@power": "@[0-9.]+", "@ratio": "@[-+0-9.e]+"}


def _score(name: str, label: Any, guess: Any, weight: Any) -> Any:
    # Imported here: it takes as long as all else, and few trainings need it.
    from sklearn import metrics

    if name == "mse":
        return metrics.mean_squared_error(label, guess, sample_weight=weight)
    if name == "r2":
        return metrics.r2_score(label, guess, sample_weight=weight)
    if name == "accuracy":
        return metrics.accuracy_score(label, guess, sample_weight=weight)
    if name == "balanced_accuracy":
        if label.ndim > 1:
            raise ValueError("it is of one label a row")
        # That is what it is; scikit-learn's own function warns of classes that no row has.
        return metrics.recall_score(
            label, guess, labels=np.unique(label), average="macro", sample_weight=weight,
            zero_division=0,
        )  # fmt: skip
    kind, _, average = name.partition("_")
    function = {
        "f1": metrics.f1_score,
        "precision": metrics.precision_score,
        "recall": metrics.recall_score,
    }[kind]
    average = average or ("macro" if kind == "f1" else "binary")
    return function(label, guess, average=average, sample_weight=weight, zero_division=0)


def _count(name: str, text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) == 0:
        raise ValueError(f"has {name[:60]!r}, where a whole number above 0 must follow the @")
    return int(text)


def _number(metric: Metric, name: str, text: str) -> str:
    # As C++ prints a float32.
    exact = float(text) if _FLOAT.fullmatch(text) else float("inf")
    if abs(exact) > np.finfo(np.float32).max:
        raise ValueError(f"has {name[:60]!r}, where a number must follow the @")
    number = np.float32(exact)
    if metric.suffix == "@power" and not 1 <= number < 2:
        raise ValueError(f"has {name!r}, where a number in [1, 2) must follow the @")
    if metric.suffix == "@threshold" and number == np.float32(0.5):
        return ""
    return f"@{float(number):.6g}"
