"""What a hyperparameter's value may be, and how it is read from SageMaker's text or from Python."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Final, Protocol

import numpy as np

from mme_training.metrics import canonical

MAX_INT32: Final = 2**31 - 1
MAX_INT64: Final = 2**63 - 1
_INFINITY: Final = float("inf")
_WHOLE = re.compile(r"[+-]?[0-9]{1,25}(\.0*)?")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_SHOWN: Final = 60
_SMALLEST: Final = float(np.finfo(np.float32).tiny)
_LARGEST: Final = float(np.finfo(np.float32).max)


class Kind(Protocol):
    """A kind of value; `type` and `range` say in words what it takes."""

    @property
    def type(self) -> str:
        """In a word or two."""

    @property
    def range(self) -> str:
        """Which values are taken; empty where the type says it all."""

    def read(self, value: Any) -> Any:
        """The value as XGBoost gets it.

        Raises:
            ValueError: it is not of this kind. The message goes on after the hyperparameter's name.
        """


def plain(value: Any) -> Any:
    """`value` without blanks around it, and without the quotes of a text that is JSON.

    SageMaker's estimators of frameworks encode each hyperparameter as JSON, those of algorithms
    do not.
    """
    if not isinstance(value, str):
        return value
    value = value.strip()
    if value[:1] == '"':
        try:
            decoded = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return decoded.strip() if isinstance(decoded, str) else value
    return value


def shown(value: Any) -> str:
    """`value` as a message quotes it."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number from `low` to `high`, both included."""

    low: int = 0
    high: int = MAX_INT32
    type = "integer"

    @property
    def range(self) -> str:
        """As an interval."""
        return interval(
            self.low if self.low > -MAX_INT32 else -_INFINITY,
            self.high if self.high < MAX_INT32 else _INFINITY,
        )

    def read(self, value: Any) -> int:
        """The number: an int."""
        number = self._number(value)
        if number is None:
            raise ValueError(f"must be a whole number, not {shown(value)}")
        if not self.low <= number <= self.high:
            raise ValueError(f"must be in {self.range}, not {number}")
        return number

    @staticmethod
    def _number(value: Any) -> int | None:
        if isinstance(value, str):
            return int(value.partition(".")[0]) if _WHOLE.fullmatch(value) else None
        if isinstance(value, Integral) and not isinstance(value, bool):
            return int(value)
        try:
            number = real(value)
        except ValueError:
            return None
        return int(number) if number.is_integer() else None


@dataclass(frozen=True, slots=True)
class Number:
    """A finite real number that float32 can hold, from `low` to `high`; `open_*` leaves one out."""

    low: float = 0
    high: float = _INFINITY
    open_low: bool = False
    open_high: bool = False
    type = "real"

    @property
    def range(self) -> str:
        """As an interval."""
        return interval(self.low, self.high, open_low=self.open_low, open_high=self.open_high)

    def read(self, value: Any) -> float:
        """The number: a float."""
        number = real(value)
        # XGBoost rounds to float32 before it compares, and refuses what float32 cannot hold.
        if number and not _SMALLEST <= abs(number) <= _LARGEST:
            raise ValueError(f"must be a number that float32 can hold, not {shown(value)}")
        rounded = float(np.float32(number))
        low = rounded > self.low if self.open_low else rounded >= self.low
        high = rounded < self.high if self.open_high else rounded <= self.high
        if not (low and high):
            raise ValueError(f"must be in {self.range}, not {shown(value)}")
        return number


@dataclass(frozen=True, slots=True)
class Numbers:
    """A real number, or a list of them."""

    each: Number
    type = "real, or list of reals"

    @property
    def range(self) -> str:
        """That of each number."""
        return self.each.range

    def read(self, value: Any) -> float | list[float]:
        """A float, or a list of floats."""
        if isinstance(value, str) and not _NUMBER.fullmatch(value):
            value = _sequence(value if value[:1] in "[(" else f"[{value}]")
        if isinstance(value, (list, tuple, np.ndarray)):
            if len(value) == 0:
                raise ValueError("must hold at least one number, not none")
            return [self.each.read(one) for one in value]
        return self.each.read(value)


@dataclass(frozen=True, slots=True)
class Boolean:
    """Yes or no."""

    type = "boolean"
    range = "`true`, `false`, `1`, `0`"

    def read(self, value: Any) -> bool:
        """True or False."""
        text = str(value).lower()
        if text not in ("true", "false", "1", "0"):
            raise ValueError(f"must be true or false, not {shown(value)}")
        return text in ("true", "1")


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some texts."""

    choices: tuple[str, ...]
    type = "one of"

    @property
    def range(self) -> str:
        """The texts."""
        return ", ".join(f"`{choice}`" for choice in self.choices)

    def read(self, value: Any) -> str:
        """The text."""
        if value not in self.choices:
            raise ValueError(f"must be one of {', '.join(self.choices)}, not {shown(value)}")
        return str(value)


@dataclass(frozen=True, slots=True)
class Device:
    """A processor: the CPU, or a GPU with or without its number."""

    type = "text"
    range = "`cpu`, `cuda`, `cuda:<n>`, `gpu`, `gpu:<n>`"

    def read(self, value: Any) -> str:
        """The text."""
        if not isinstance(value, str) or not re.fullmatch(
            r"cpu|(cuda|gpu)(:[0-9]{1,4})?", value, re.ASCII
        ):
            raise ValueError(f"must be cpu, cuda, cuda:<n>, gpu or gpu:<n>, not {shown(value)}")
        return value


@dataclass(frozen=True, slots=True)
class Updaters:
    """Names of updaters, in the order in which they run."""

    choices: tuple[str, ...]
    type = "list, by commas"

    @property
    def range(self) -> str:
        """The names."""
        return ", ".join(f"`{choice}`" for choice in self.choices)

    def read(self, value: Any) -> str:
        """The names with commas between them, as XGBoost takes them."""
        names = names_in(value)
        for name in names:
            if name not in self.choices:
                raise ValueError(
                    f"must be a list of {', '.join(self.choices)}, not {shown(name or value)}"
                )
        return ",".join(names)


@dataclass(frozen=True, slots=True)
class Metrics:
    """Names of metrics, the same one once."""

    type = "list, by commas"
    range = "see [metrics](#metrics)"

    def read(self, value: Any) -> list[str]:
        """The names as they stand in the log, in the order given."""
        return list(dict.fromkeys(canonical(name) for name in names_in(value)))


@dataclass(frozen=True, slots=True)
class TuningMetrics:
    """The name of a tuning job's metric."""

    type = "text"
    range = "`validation:<metric>`, or a name of your own"

    def read(self, value: Any) -> list[str]:
        """The metrics that are named; none if the name has no colon, and so says nothing to us."""
        if not isinstance(value, str):
            raise ValueError(f"must be as validation:rmse, not {shown(value)}")
        _, colon, names = value.partition(":")
        return Metrics().read(names.partition(":")[0]) if colon else []


@dataclass(frozen=True, slots=True)
class Monotone:
    """A direction for each column, in their order or by name."""

    type = "tuple, or names and directions"
    range = "each of -1, 0, 1"

    def read(self, value: Any) -> tuple[int, ...] | dict[str, int]:
        """A tuple of -1, 0 and 1, or a dictionary of them by name of the column."""
        given = _sequence(value) if isinstance(value, str) else value
        if isinstance(given, dict):
            if all(isinstance(name, str) for name in given):
                return {name: self._direction(one, value) for name, one in given.items()}
        elif isinstance(given, (list, tuple)):
            return tuple(self._direction(one, value) for one in given)
        elif isinstance(value, str) and value in ("1", "-1", "0", "+1"):
            return (int(value),)
        raise ValueError(f'must be as (1,0,-1) or {{"AGE": 1}}, not {shown(value)}')

    @staticmethod
    def _direction(one: Any, value: Any) -> int:
        if isinstance(one, bool) or one not in (-1, 0, 1):
            raise ValueError(f"must hold -1, 0 and 1 alone, not {shown(one)} in {shown(value)}")
        return int(one)


@dataclass(frozen=True, slots=True)
class Interactions:
    """Groups of columns, by index or by name."""

    type = "list of lists"
    range = "indices from 0, or names"

    def read(self, value: Any) -> str | list[list[str]]:
        """Groups of indices as JSON, and groups of names as lists: so XGBoost takes each."""
        given = _sequence(value) if isinstance(value, str) else value
        if not isinstance(given, (list, tuple)) or not all(
            isinstance(group, (list, tuple)) for group in given
        ):
            raise ValueError(f"must be as [[0,1],[2,3,4]], not {shown(value)}")
        groups = [list(group) for group in given]
        columns = [column for group in groups for column in group]
        if columns and all(isinstance(column, str) for column in columns):
            return groups
        if all(
            isinstance(column, int) and not isinstance(column, bool) and 0 <= column <= MAX_INT32
            for column in columns
        ):
            return json.dumps(groups)
        raise ValueError(f"must hold indices from 0 alone, or names alone, not {shown(value)}")


def interval(low: float, high: float, *, open_low: bool = False, open_high: bool = False) -> str:
    """The numbers from `low` to `high` as ``[0, 1)`` or ``(-∞, ∞)``."""
    left = "(-∞" if low == -_INFINITY else f"{'(' if open_low else '['}{low:g}"
    right = "∞)" if high == _INFINITY else f"{high:g}{')' if open_high else ']'}"
    return f"{left}, {right}"


def real(value: Any) -> float:
    """A finite number from a text or a number.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, str):
        number = float(value) if _NUMBER.fullmatch(value) else _INFINITY
    elif isinstance(value, Real) and not isinstance(value, (bool, np.bool_)):
        try:
            number = float(value)
        except OverflowError:
            number = _INFINITY
    else:
        number = _INFINITY
    if not np.isfinite(number):
        raise ValueError(f"must be a number, not {shown(value)}")
    return number


def names_in(value: Any) -> Sequence[str]:
    """Texts from a text with commas, from the text of a JSON list, or from a list.

    Raises:
        ValueError: it is none of these, or holds no text.
    """
    if isinstance(value, str):
        texts: Iterable[Any] = _sequence(value) if value[:1] in ("[", "(") else value.split(",")
    else:
        texts = value if isinstance(value, (list, tuple)) else ()
    names = [text.strip() if isinstance(text, str) else "" for text in texts]
    if not names or "" in names:
        raise ValueError(f"must be names with commas between them, not {shown(value)}")
    return names


def _sequence(text: str) -> Any:
    """What a text of JSON or of Python's literals says."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # On backslashes in names.
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError(f"must be a list, not {shown(text)}") from None
