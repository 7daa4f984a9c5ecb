"""From hyperparameters as they were given to those that a training can rely on."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final

from mme_training.errors import UserError
from mme_training.hyperparameters import combinations, retired
from mme_training.hyperparameters.kinds import plain, shown
from mme_training.hyperparameters.table import ALIASES, PARAMETERS, Group
from mme_training.hyperparameters.values import Hyperparameters
from mme_training.metrics import canonical

_LOG: Final = logging.getLogger(__name__)

_TUNING: Final = "_tuning_objective_metric"
_OF_SAGEMAKER: Final = "sagemaker_"
_ELSEWHERE: Final = {"n_estimators": "num_round", "num_boost_round": "num_round"}
"""Names of XGBoost's Python functions that are too far from ours to be found as the nearest."""


def parse(given: Mapping[str, Any], extra: bool = False) -> Hyperparameters:
    """Check hyperparameters as SageMaker or a caller gives them.

    Args:
        given: by name; values are texts as in ``hyperparameters.json``, or what they stand for.
            None is as good as left out, and so are the names that begin with ``sagemaker_``.
        extra: keep names that are not known in `extra` of the result instead of refusing them.

    Raises:
        UserError: something is wrong; a line for each thing that is.
    """
    checked = _Checked(extra)
    for name, value in given.items():
        checked.take(name, value)
    checked.finish()
    wrong = checked.wrong
    if extra and "objective" not in checked.values:
        wrong = wrong | {"objective"}  # It may be a function of the script.
    problems = [*checked.problems, *combinations.problems(checked.values, wrong)]
    if "num_round" not in checked.values and "num_round" not in checked.wrong:
        problems.append("num_round is missing: say how many rounds to train")
    if problems:
        raise UserError("\n".join(problems))
    return _result(checked)


class _Checked:
    """What was read so far, and what was wrong with the rest."""

    def __init__(self, extra: bool) -> None:
        self.values: dict[str, Any] = {}
        self.extra: dict[str, Any] = {}
        self.problems: list[str] = []
        self.wrong: set[str] = set()
        self._keep_unknown = extra
        self._given_as: dict[str, str] = {}
        self._successors: dict[str, str] = {}

    def take(self, given_name: str, given: Any) -> None:
        """Read one hyperparameter."""
        value = plain(given)
        name = ALIASES.get(given_name, given_name)
        if given_name.startswith(_OF_SAGEMAKER):
            return
        if name not in PARAMETERS and name not in retired.NAMES:
            self._unknown(name, given)
        elif value is None or value == "null":
            return
        elif name in retired.NAMES:
            self._replace(name, retired.NAMES[name])
        elif name in self._given_as:
            self._wrong(
                name, f"{self._given_as[name]} and {given_name} are the same: give one of them"
            )
        else:
            self._given_as[name] = given_name
            self._read(name, given_name, value)

    def finish(self) -> None:
        """What needs more than one: successors of what is gone, and the metrics in their order."""
        for name, value in self._successors.items():
            kept = self.values.setdefault(name, value)
            if kept != value and kept.partition(":")[0] not in (value, "gpu"):
                self._wrong(name, f"{name} {kept} does not go with tree_method gpu_hist")
        given = self._completed(self.values.get("eval_metric", ()))
        tuning = self._completed(self.values.pop(_TUNING, ()))
        names = [*(name for name in given if name not in tuning), *tuning]
        if names:
            self.values["eval_metric"] = list(dict.fromkeys(names))

    def _completed(self, metrics: Iterable[str]) -> list[str]:
        """With the power that XGBoost wants after the name of Tweedie's metric."""
        power = "tweedie_variance_power"
        suffix = f"@{self.values.get(power, PARAMETERS[power].default)}"
        return [canonical(name + suffix) if name == "tweedie-nloglik" else name for name in metrics]

    def _read(self, name: str, given_name: str, value: Any) -> None:
        items = str(value).split(",") if name == "updater" else [value]
        for item in items:
            gone = retired.VALUES.get((name, item)) if isinstance(item, str) else None
            if gone:
                self._replace(f"{given_name} {item}", gone, name)
                return
        try:
            self.values[name] = PARAMETERS[name].kind.read(value)
        except ValueError as error:
            if name == _TUNING and self._keep_unknown:
                _LOG.warning("%s is %s, which only the script knows", name, shown(value))
                return
            self._wrong(name, f"{given_name} {error}")
            return
        if name == _TUNING and not self.values[name]:
            _LOG.warning("%s names no metric as validation:rmse does: it is ignored", name)

    def _replace(self, what: str, gone: retired.Retired, name: str | None = None) -> None:
        if gone.refused:
            self._wrong(name or what, f"{what} {gone.why}")
            return
        _LOG.warning(
            "hyperparameter %s %s%s", what, gone.why, "" if gone.successor else "; it is ignored"
        )
        self._successors.update(gone.successor)

    def _unknown(self, name: str, value: Any) -> None:
        if self._keep_unknown:
            self.extra[name] = value
            return
        known = (*PARAMETERS, *ALIASES)
        near = [_ELSEWHERE[name]] if name in _ELSEWHERE else get_close_matches(name, known, n=1)
        hint = f": did you mean {near[0]}?" if near else ""
        self.problems.append(f"there is no hyperparameter {shown(name)}{hint}")

    def _wrong(self, name: str, problem: str) -> None:
        self.wrong.add(name)
        self.problems.append(problem)


def _result(checked: _Checked) -> Hyperparameters:
    values = checked.values
    for parameter in list(combinations.unused(values)):
        if values.pop(parameter.name) != parameter.default:
            _LOG.warning(
                "hyperparameter %s has an effect only with %s; it is ignored",
                parameter.name,
                combinations.with_what(parameter),
            )
    around = {
        name.removeprefix("_"): values[name]
        for name in values
        if PARAMETERS[name].group is Group.TRAINING and name != "eval_metric"
    }
    return Hyperparameters(
        booster={
            name: value
            for name, value in values.items()
            if PARAMETERS[name].group is not Group.TRAINING
        },
        eval_metric=tuple(values.get("eval_metric", ())),
        extra=checked.extra,
        **around,
    )
