"""Which hyperparameters do not go together: what XGBoost would refuse later, or not use at all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from mme_training.hyperparameters.kinds import shown
from mme_training.hyperparameters.table import LINEAR_UPDATERS, PARAMETERS, Parameter
from mme_training.metrics import METRICS, OF_NUMBERS, OF_TWO_CLASSES

Values = Mapping[str, Any]
"""Values that were read, by the names of the table; `eval_metric` with the tuning job's metric."""

_CONSTRAINTS: Final = ("monotone_constraints", "interaction_constraints")
_OF_CLASSES: Final = tuple(
    name for name, metric in METRICS.items() if metric.own and name not in OF_NUMBERS
)
_OF_MANY_CLASSES: Final = ("merror", "mlogloss")


@dataclass(frozen=True, slots=True)
class Rule:
    """A combination that is refused: the hyperparameters that it looks at, and what it says."""

    names: tuple[str, ...]
    says: str
    check: Callable[[Values], Iterator[str]]


RULES: Final[list[Rule]] = []
"""In the order of the page."""


def objective_of(values: Values) -> str:
    """The objective that XGBoost takes, given or not."""
    if "objective" in values:
        return str(values["objective"])
    return "multi:softmax" if "num_class" in values else "reg:squarederror"


def problems(values: Values, wrong: Collection[str] = ()) -> Iterator[str]:
    """A sentence for each bad combination; nothing that looks at a hyperparameter of `wrong`."""
    for rule in RULES:
        if not any(name in wrong for name in rule.names):
            yield from rule.check(values)
    for parameter in unused(values, wrong):
        value = values[parameter.name]
        if value != parameter.default and not _is_left_out(parameter, values):
            yield (
                f"{parameter.name} has an effect only with {with_what(parameter)}: leave it out, "
                "or change the other"
            )


def unused(values: Values, wrong: Collection[str] = ()) -> Iterator[Parameter]:
    """Those of `values` that have no effect beside the others."""
    for name in values:
        parameter = PARAMETERS[name]
        if parameter.only and not any(
            key in wrong or _begins(key, prefixes, values)
            for key, prefixes in parameter.only.items()
        ):
            yield parameter


def with_what(parameter: Parameter) -> str:
    """With which others `parameter` has an effect, in words."""
    return " or ".join(
        " or ".join(f"{key} {prefix}{'*' if prefix.endswith(':') else ''}".strip()
                    for prefix in prefixes)
        for key, prefixes in parameter.only.items()
    )  # fmt: skip


def _is_left_out(parameter: Parameter, values: Values) -> bool:
    """Whether it is a setting of trees beside gblinear: jobs on AWS's image may have some."""
    return values.get("booster") == "gblinear" and "gbtree" in parameter.only.get("booster", ())


def _begins(key: str, prefixes: tuple[str, ...], values: Values) -> bool:
    actual = objective_of(values) if key == "objective" else values.get(key, _default(key))
    if actual is None:
        return False
    texts = actual if isinstance(actual, list) else [str(actual)]
    return any(text.startswith(prefixes) for text in texts)


def _default(name: str) -> Any:
    return PARAMETERS[name].default


def _rule(says: str, *names: str) -> Callable[[Callable[[Values], Iterator[str]]], None]:
    def add(check: Callable[[Values], Iterator[str]]) -> None:
        RULES.append(Rule(names, says, check))

    return add


@_rule("`num_class` and an objective other than `multi:*`, and one without the other",
       "objective", "num_class")  # fmt: skip
def _num_class(values: Values) -> Iterator[str]:
    objective = objective_of(values)
    if objective.startswith("multi:") and "num_class" not in values:
        yield f"objective {objective} needs num_class"
    if not objective.startswith("multi:") and "num_class" in values:
        yield f"num_class is for objective multi:softmax or multi:softprob, not {objective}"


@_rule("`reg:quantileerror` or the metric `quantile` without `quantile_alpha`",
       "objective", "eval_metric", "quantile_alpha")  # fmt: skip
def _quantile(values: Values) -> Iterator[str]:
    if "quantile_alpha" not in values:
        if objective_of(values) == "reg:quantileerror":
            yield "objective reg:quantileerror needs quantile_alpha"
        elif "quantile" in values.get("eval_metric", ()):
            yield "eval_metric quantile needs quantile_alpha"


@_rule("several quantiles as `quantile_alpha` and another metric than `quantile`, or that metric "
       "and another objective than `reg:quantileerror`",
       "objective", "eval_metric", "quantile_alpha")  # fmt: skip
def _several_quantiles(values: Values) -> Iterator[str]:
    objective, alpha = objective_of(values), values.get("quantile_alpha")
    if not isinstance(alpha, list) or len(alpha) == 1:
        return
    for metric in values.get("eval_metric", ()):
        if (metric == "quantile") != (objective == "reg:quantileerror"):
            yield f"eval_metric {metric} with objective {objective} takes one quantile_alpha"


@_rule("`base_score` with neither one value nor `num_class`", "objective", "num_class",
       "base_score")  # fmt: skip
def _base_scores(values: Values) -> Iterator[str]:
    score, many = values.get("base_score"), values.get("num_class")
    if isinstance(score, list) and many is not None and len(score) not in (1, many):
        yield f"base_score must be one value or {many}, as num_class is, not {len(score)}"


@_rule("`base_score` outside (0, 1) with `reg:logistic` and `binary:logistic`, not above 0 with "
       "`reg:gamma`, below 0 with `count:poisson`, `reg:tweedie` and `survival:cox`",
       "objective", "base_score")  # fmt: skip
def _base_score(values: Values) -> Iterator[str]:
    objective, score = objective_of(values), values.get("base_score")
    scores = np.atleast_1d(np.asarray(() if score is None else score, np.float32))
    if objective in ("reg:logistic", "binary:logistic"):
        right, where = all((scores > 0) & (scores < 1)), "in (0, 1)"
    elif objective == "reg:gamma":
        right, where = all(scores > 0), "above 0"
    elif objective in ("count:poisson", "reg:tweedie", "survival:cox"):
        right, where = all(scores >= 0), "0 or above"
    else:
        return
    if not right:
        yield f"base_score must be {where} with objective {objective}, not {shown(score)}"


@_rule("`huber_slope` 0", "huber_slope")
def _slope(values: Values) -> Iterator[str]:
    if values.get("huber_slope") == 0:
        yield "huber_slope must not be 0"


@_rule("metrics of classes (`auc`, `accuracy`, `f1`, ..) and an objective without classes (`auc` "
       "also takes `rank:*`)", "objective", "eval_metric")  # fmt: skip
def _metrics_of_classes(values: Values) -> Iterator[str]:
    objective = objective_of(values)
    for metric in values.get("eval_metric", ()):
        classes = objective.startswith(("binary:", "multi:")) or objective == "reg:logistic"
        if metric == "auc" and not (classes or objective.startswith("rank:")):
            yield f"eval_metric auc needs objective binary:*, multi:* or rank:*, not {objective}"
        elif metric in _OF_CLASSES and not classes:
            yield f"eval_metric {metric} needs objective binary:* or multi:*, not {objective}"


@_rule("`merror`, `mlogloss` without `multi:*`; with it, XGBoost's metrics but for these, `auc` "
       "and `aucpr`; `f1_binary`, `precision`, `recall` of more than two classes; `mse`, `r2` of "
       "`multi:softprob`", "objective", "eval_metric", "num_class")  # fmt: skip
def _metrics_of_many_classes(values: Values) -> Iterator[str]:
    objective, many = objective_of(values), values.get("num_class", 2) > 2
    for metric in values.get("eval_metric", ()):
        if not objective.startswith("multi:"):
            if metric in _OF_MANY_CLASSES:
                yield f"eval_metric {metric} needs objective multi:*, not {objective}"
        elif metric in OF_TWO_CLASSES:
            if many:
                yield f"eval_metric {metric} is of two classes: use {metric.split('_')[0]}_macro"
        elif metric in OF_NUMBERS:
            if objective == "multi:softprob":
                yield f"eval_metric {metric} is of numbers, not of objective {objective}"
        elif metric not in (*_OF_MANY_CLASSES, *_OF_CLASSES, "auc", "aucpr"):
            yield f"eval_metric {metric} does not go with objective {objective}: use mlogloss"


@_rule("`aft-nloglik`, `interval-regression-accuracy` without `survival:aft`",
       "objective", "eval_metric")  # fmt: skip
def _metrics_of_survival(values: Values) -> Iterator[str]:
    objective = objective_of(values)
    for metric in values.get("eval_metric", ()):
        if metric in ("aft-nloglik", "interval-regression-accuracy") and (
            objective != "survival:aft"
        ):
            yield f"eval_metric {metric} needs objective survival:aft, not {objective}"


@_rule("`early_stopping_rounds` and `disable_default_eval_metric` without `eval_metric`",
       "early_stopping_rounds", "disable_default_eval_metric", "eval_metric")  # fmt: skip
def _nothing_to_stop_by(values: Values) -> Iterator[str]:
    if (
        "early_stopping_rounds" in values
        and values.get("disable_default_eval_metric")
        and not values.get("eval_metric")
    ):
        yield "early_stopping_rounds needs an eval_metric, as the default one is disabled"


@_rule("`process_type` `update`: there is no model to update", "process_type")
def _process_type(values: Values) -> Iterator[str]:
    if values.get("process_type") == "update":
        yield "process_type update needs a model to update, which a training job has not"


@_rule("`exact` with `max_depth` 0, `max_leaves`, `lossguide`, `colsample_bynode`, "
       "`gradient_based`, or a GPU",
       "booster", "tree_method", "updater", "max_depth", "max_leaves", "grow_policy",
       "colsample_bynode", "sampling_method", "device")  # fmt: skip
def _exact(values: Values) -> Iterator[str]:
    updater = values.get("updater")
    exact = updater.startswith("grow_colmaker") if updater else values.get("tree_method") == "exact"
    if not exact or values.get("booster") == "gblinear":
        return
    bad = {
        "max_depth": values.get("max_depth") == 0,
        "max_leaves": values.get("max_leaves", 0) > 0,
        "grow_policy": values.get("grow_policy") == "lossguide",
        "colsample_bynode": values.get("colsample_bynode", 1) < 1,
        "sampling_method": values.get("sampling_method") == "gradient_based",
        "device": _on_gpu(values),
    }
    for name in (name for name, is_bad in bad.items() if is_bad):
        yield f"{name} {values[name]} does not go with exact trees: use tree_method hist"


@_rule("`multi_output_tree` with `exact`, `approx` or `dart`",
       "multi_strategy", "tree_method", "booster")  # fmt: skip
def _multi_strategy(values: Values) -> Iterator[str]:
    if values.get("multi_strategy") == "multi_output_tree":
        if values.get("tree_method") in ("exact", "approx"):
            yield f"multi_output_tree needs tree_method hist, not {values['tree_method']}"
        if values.get("booster") == "dart":
            yield "multi_output_tree needs booster gbtree, not dart"


@_rule("`updater` that does not begin with one `grow_..` or has two, or with `gblinear` is not one "
       "of `shotgun` and `coord_descent`; `grow_gpu_..` without a GPU as `device`",
       "updater", "booster", "device", "process_type")  # fmt: skip
def _updater(values: Values) -> Iterator[str]:
    if "updater" not in values or values.get("process_type") == "update":
        return
    names = values["updater"].split(",")
    if values.get("booster") == "gblinear":
        if len(names) > 1 or names[0] not in LINEAR_UPDATERS:
            yield "updater must be shotgun or coord_descent with booster gblinear"
        return
    growing = [name.startswith("grow_") for name in names]
    linear = [name for name in names if name in LINEAR_UPDATERS]
    if linear:
        yield f"updater {linear[0]} needs booster gblinear"
    elif not growing[0] or sum(growing) > 1:
        yield "updater must begin with one grow_.., and have no other"
    elif names[0].startswith("grow_gpu") and not _on_gpu(values):
        yield f"updater {names[0]} needs device cuda"


@_rule("`feature_selector` `thrifty`, `greedy`, `random` without updater `coord_descent`",
       "feature_selector", "updater", "booster")  # fmt: skip
def _feature_selector(values: Values) -> Iterator[str]:
    selector = values.get("feature_selector")
    if (
        selector in ("thrifty", "greedy", "random")
        and values.get("booster") == "gblinear"
        and values.get("updater") != "coord_descent"
    ):
        yield f"feature_selector {selector} needs updater coord_descent"


@_rule("`monotone_constraints`, `interaction_constraints` with `gblinear`",
       "booster", *_CONSTRAINTS)  # fmt: skip
def _constraints(values: Values) -> Iterator[str]:
    if values.get("booster") == "gblinear":
        for name in _CONSTRAINTS:
            if values.get(name):
                yield f"{name} needs booster gbtree or dart, not gblinear"


def _on_gpu(values: Values) -> bool:
    return str(values.get("device", "cpu")).startswith(("cuda", "gpu"))
