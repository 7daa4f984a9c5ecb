"""Writes the page of all hyperparameters: ``python -m mme_training.hyperparameters.page``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from mme_training.hyperparameters import retired
from mme_training.hyperparameters.combinations import RULES, with_what
from mme_training.hyperparameters.table import OBJECTIVES, PARAMETERS, Group, Parameter
from mme_training.metrics import METRICS, metric_definitions

_HEAD: Final = """\
<!-- Written by `python -m mme_training.hyperparameters.page`: change the table, not this page. -->

# Hyperparameters

All that a training takes: what AWS's XGBoost image takes, and what XGBoost {version} has beyond it.
The same table checks them before any data is read. A name that is not known, a value of the wrong
type or out of range, and a combination that cannot work end the job at once, with a line for each
in `FailureReason` and the nearest name that is known.

Values are texts, as SageMaker passes them, or what they stand for. A text may be quoted as JSON
(`"\\"reg:squarederror\\""`), as estimators of the SageMaker SDK for frameworks do it. Lists are
texts with commas, or JSON; tuples are written as in Python; nothing is evaluated. `null` is as good
as left out. What is left out is left to XGBoost, so the same values give the same model as
`xgboost.train`. Names that begin with `sagemaker_` are SageMaker's own and are not looked at. In
script mode, names that are not known are the script's.

A range with `(` or `)` leaves its end out. Where no default is given, it depends on the data or on
other hyperparameters, or there is none. From: who defines the hyperparameter; those of AWS alone
are about the training, and never reach XGBoost. Tuning: the range that AWS recommends.
"""

_NOTES: Final = {
    Group.TRAINING: "A `_tuning_objective_metric` that is not of the form `validation:rmse` "
    "is taken for a label of your own, and ignored.",
    Group.GENERAL: "With a GPU as `device` and none on the machine, XGBoost warns and takes the "
    "CPU.",
    Group.TREE: "Beside `gblinear` only `eta`, `lambda`, `alpha` and `updater` count; constraints "
    "are refused, the rest is ignored with a warning.",
    Group.CATEGORICAL: "Columns that are categories in the data are treated so; nothing turns that "
    "on or off.",
    Group.DART: "With `booster` `dart` alone.",
    Group.LINEAR: "With `booster` `gblinear` alone, whose default `eta` is 0.5.",
    Group.RANKING: "With `objective` `rank:*` alone; `ndcg_exp_gain` also with the metric `ndcg`.",
    Group.SURVIVAL: "With `objective` `survival:aft` alone.",
}

_DIFFERENCES: Final = """\
- A job that AWS's image takes is taken, but for what XGBoost would have ignored in silence: a
  setting of `dart`, of an objective or of `_kfold` without these, or one that `exact` does not
  have, is refused, unless it is the default.
- Metrics of classes are refused beside an objective without classes.
- All mistakes are told at once, and a name that is not known comes with the nearest that is.
- `monotone_constraints` and `interaction_constraints` do not need `tree_method` to be named: `auto`
  is `hist`.
- `eta` may be above 1, `base_score` below 0, and `seed` has 64 bits, as in XGBoost.
- Metrics of classes take a prediction for what it is: a probability above 0.5 is class 1, log-odds
  above 0 are; `multi:softmax` predicts the class itself. AWS's image compares all of them with 0.
  Rows count by their weights.
- `rmse` and `mae` are XGBoost's own.
- The metric of a tuning job is logged last and stops early; the others keep the order given.
- `tweedie-nloglik` need not repeat `tweedie_variance_power` after an `@`.
- More of `interval-regression-accuracy` is better.
- A job that is stopped leaves its best model unless `save_model_on_termination` is `false`; AWS's
  image leaves one only if it is `true`.
- `process_type` `update` is refused, as a training job has no model to update.
"""


def page() -> str:
    """The whole page, in Markdown."""
    return "\n".join(_parts())


def _parts() -> Iterator[str]:
    yield _HEAD.format(version="3.2")
    for group in Group:
        yield f"## {group.value}\n"
        if group in _NOTES:
            yield _NOTES[group] + "\n"
        yield _parameters([one for one in PARAMETERS.values() if one.group is group])
    yield "## Objectives\n"
    yield _table(("Objective", "What it learns"), ((f"`{a}`", b) for a, b in OBJECTIVES.items()))
    yield from _metrics()
    yield "## What does not go together\n"
    yield "Refused, as XGBoost would refuse it after all data is read, or would not use it:\n"
    yield from (f"- {rule.says}" for rule in RULES)
    yield from _narrow()
    yield "\nA value that is the default is never refused for having no effect.\n"
    yield from _gone()
    yield "## What differs from AWS's image\n"
    yield _DIFFERENCES


def _parameters(parameters: Sequence[Parameter]) -> str:
    tuned = any(one.tunable for one in parameters)
    heads = ("Name", "Type", "Range", "Default", "Meaning", "From", *(["Tuning"] if tuned else []))
    return _table(
        heads,
        (
            (
                ", ".join(f"`{name}`" for name in (one.name, *one.aliases)),
                one.kind.type,
                "see [objectives](#objectives)" if one.name == "objective" else one.kind.range,
                _value(one.default),
                one.meaning,
                one.source.value,
                *([_span(one.tunable)] if tuned else []),
            )
            for one in parameters
        ),
    )


def _metrics() -> Iterator[str]:
    yield "## Metrics\n"
    yield (
        "`eval_metric` names them with commas between. Those of AWS's image that XGBoost does not\n"
        "have are computed with scikit-learn. What may follow a name: `error@0.7`, a threshold;\n"
        "`ndcg@5`, the first five of each query; `ndcg-`, `ndcg@5-`, a query without a relevant\n"
        "row counts as 0; `tweedie-nloglik@1.3`, the power; `ams@0.15`, the ratio, which is\n"
        "required.\n"
    )
    yield _table(
        ("Metric", "Better", "Computed by", "What it is"),
        (
            (
                f"`{one.name}`" + (f", `{one.name}{one.suffix}`" if one.suffix else ""),
                "more" if one.maximized else "less",
                "this package" if one.own else "XGBoost",
                one.meaning,
            )
            for one in METRICS.values()
        ),
    )
    example = next(one for one in metric_definitions() if one["Name"] == "validation:rmse")
    yield "### For tuning\n"
    yield (
        "A tuning job reads metrics from the log by `MetricDefinitions`; each has the name\n"
        "`validation:<metric>` and one regular expression, which fits both the log of AWS's own\n"
        "algorithm, where a tab is `#011`, and that of a container:\n"
    )
    yield f"```\n{example['Regex']}\n```\n"
    yield (
        "All of them, as an estimator takes them:\n\n"
        "```python\n"
        "from mme_training.metrics import metric_definitions\n\n"
        "estimator = sagemaker.estimator.Estimator(..., metric_definitions=metric_definitions())\n"
        "```\n\n"
        "A metric with a number, such as `ndcg@5`, is one of its own: name it in the expression.\n"
        "`tweedie-nloglik` and `ams` are read whatever their number.\n"
    )


def _gone() -> Iterator[str]:
    yield "## What this XGBoost no longer has\n"
    rows = [(f"`{name}`", one) for name, one in retired.NAMES.items()]
    rows += [(f"`{name}` `{value}`", one) for (name, value), one in retired.VALUES.items()]
    yield _table(
        ("Hyperparameter", "What becomes of it", "Why"),
        ((name, one.treatment, one.why) for name, one in rows),
    )


def _narrow() -> Iterator[str]:
    """Hyperparameters that have an effect only with others, but for those of all trees."""
    names: dict[str, list[str]] = {}
    for parameter in PARAMETERS.values():
        if parameter.only and "gbtree" not in parameter.only.get("booster", ()):
            names.setdefault(with_what(parameter), []).append(f"`{parameter.name}`")
    for others, together in names.items():
        yield f"- {', '.join(together)} without {_code(others)}"


def _code(text: str) -> str:
    return " or ".join(
        " ".join(f"`{word}`" for word in part.split()) for part in text.split(" or ")
    )


def _value(value: Any) -> str:
    if value is None or value == ():
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _span(span: tuple[float, float] | None) -> str:
    return f"{span[0]:g} to {span[1]:g}" if span else ""


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
