"""What a model takes: which columns, in which order, and what counts as a missing value."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from mme_handler.codecs.matrix import parse_number
from mme_handler.errors import BadRequestError, RequestTooLargeError

# A few bytes can stand for a whole row where a format leaves values out: 128 MiB of float32.
MAX_CELLS: Final = 1 << 25
_MOST_NAMES: Final = 10
_MOST_CHARACTERS: Final = 60

_WHOLE: Final = re.compile(r"[+-]?[0-9]+")
_MOST_DIGITS: Final = 20  # of a 64-bit integer, with its sign


class Categories:
    """The categories of a column that the model holds, and what stands for them in a request.

    A text is a category. A number is one too if any category of the column reads as a number, as
    those of a column of integers do; where none does, it is the code of a category.
    """

    def __init__(self, codes: Mapping[str, int], missing: float = math.nan) -> None:
        self.texts = codes
        self.top = max(codes.values())
        """The highest code."""
        self.missing = missing
        readings: defaultdict[float, list[int]] = defaultdict(list)
        for text, code in codes.items():
            reading = read_number(text)
            if reading is not None:
                readings[reading].append(code)
        self.numeric = bool(readings)
        """Whether numbers are categories, not codes."""
        self.distinct = all(len(found) == 1 for found in readings.values())
        """Whether no two categories read as the same number."""
        self._numbers: dict[float, float] = {}
        for number, found in readings.items():
            spelling = show_number(number)
            if len(found) == 1 or spelling in codes:  # else it could be any of several
                self._numbers[number] = codes.get(spelling, found[0])
        self._rounded: dict[np.dtype[Any], dict[float, float]] = {}

    def of(self, value: str | float | None) -> float | None:
        """The code that a text or a number stands for, NaN if it is missing; None if for none."""
        if value is None:
            return math.nan
        if isinstance(value, str):
            code = self.texts.get(value)
            reading = read_number(value) if code is None and self.numeric else None
            return code if reading is None else self.of(reading)
        if self.numeric:
            found = self._numbers.get(value)
        else:
            found = value if 0 <= value <= self.top and value == int(value) else None
        return math.nan if found is None and value == self.missing else found

    def of_array(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """The codes of numbers (rows,), as `of` has them; NaN stays, infinity if for none."""
        if not self.numeric:
            codes = values.astype(np.float64)
            codes[(codes < 0) | (codes > self.top) | (codes % 1 > 0)] = math.inf
            codes[values == self.missing] = math.nan
            return codes
        table = self._numbers if values.dtype.kind != "f" else self._table(values.dtype)
        unique, inverse = np.unique(values, return_inverse=True)
        return np.array([self._lookup(value, table) for value in unique.tolist()])[inverse]

    def _lookup(self, value: float, table: dict[float, float]) -> float:
        missing = value != value or value == self.missing
        return table.get(value, math.nan if missing else math.inf)

    def _table(self, dtype: np.dtype[Any]) -> dict[float, float]:
        """The code of each number as floats of `dtype` have it, of those that stay different."""
        table = self._rounded.get(dtype)
        if table is None:
            with np.errstate(over="ignore"):
                rounded = [(float(dtype.type(n)), code) for n, code in self._numbers.items()]
            count = Counter(number for number, _ in rounded)
            table = {n: code for n, code in rounded if count[n] == 1 and math.isfinite(n)}
            self._rounded[dtype] = table
        return table


def read_number(text: str) -> float | None:
    """The finite number that `text` is, an integer to all its digits; None if it is none."""
    text = text.strip()
    if _WHOLE.fullmatch(text):
        return int(text) if len(text) <= _MOST_DIGITS else None
    number = parse_number(text, frozenset())
    return number if number is not None and math.isfinite(number) else None


def show_number(number: float) -> str:
    """The number as a category is spelled: a whole one without a point."""
    if isinstance(number, float) and number.is_integer() and abs(number) < 1e15:
        return str(int(number))
    return str(number)


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of a model."""

    features: int
    """How many values the model takes in a row."""

    names: tuple[str, ...] | None = None
    """The features' names in the model's order; None if the model was trained without."""

    categories: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    """For each categorical column: the code of each category, which is spelled as a text.

    The mapping is empty where the model does not hold the categories: there a request sends codes.
    """

    missing: float = math.nan
    """The number that means "missing" besides NaN."""

    index_base: Literal[0, 1] = 0
    """The index of the first feature in text/libsvm."""

    held: Mapping[int, Categories] = field(init=False, repr=False, compare=False)
    """The categories of each column of which the model holds them."""

    def __post_init__(self) -> None:
        held = {c: Categories(codes, self.missing) for c, codes in self.categories.items() if codes}
        object.__setattr__(self, "held", held)

    def order(self, names: Sequence[str]) -> list[int] | None:
        """Where each feature of the model is among the request's columns `names`.

        ``matrix[:, order]`` then has the model's order. None: they are in that order already, or
        the model has no names to compare and as many columns (``f0``, ``f1``, ... are put in
        order also then, for so XGBoost names the features of such a model).

        Raises:
            BadRequestError: lists the names that are unknown, missing or doubled.
        """
        wanted = self.names or tuple(f"f{column}" for column in range(self.features))
        if tuple(names) == wanted:
            return None
        if self.names is None and len(names) == self.features and set(names) != set(wanted):
            return None
        position = {name: column for column, name in enumerate(names)}
        doubled = [name for name, count in Counter(names).items() if count > 1]
        unknown = position.keys() - set(wanted)
        absent = [name for name in wanted if name not in position]
        if doubled or unknown or absent:
            groups = {
                "unknown": [name for name in position if name in unknown],
                "missing": absent,
                "doubled": doubled,
            }
            wrong = "; ".join(f"{kind}: {_list(found)}" for kind, found in groups.items() if found)
            raise BadRequestError(f"the feature names are not the model's: {wrong}")
        return [position[name] for name in wanted]

    def label(self, column: int) -> str:
        """Column `column`, counted from 0, for a message: its name if it has one, or its number."""
        return _short(self.names[column]) if self.names else f"column {column + 1}"

    def code(self, column: int, value: str | float) -> float | None:
        """The code of a category, or of what else stands for one; None in a column of numbers.

        Raises:
            BadRequestError: the model does not know the category.
        """
        if column not in self.categories:
            return None
        held = self.held.get(column)
        code = held.of(value) if held else None
        if code is None:
            raise self.unknown(column, value)
        return code

    def unknown(self, column: int, value: str | float) -> BadRequestError:
        """The error for a text or a number that stands for no category of the column."""
        what = "is not a category of the model"
        held = self.held.get(column)
        if held is None:
            known = "the model takes codes, not texts"
        else:
            known = f"known are {_list(held.texts)}"
            if not isinstance(value, str) and not held.numeric:
                what = f"is neither a category of the model nor the code of one, 0 to {held.top}"
        shown = _short(value) if isinstance(value, str) else show_number(value)
        return BadRequestError(f"{self.label(column)}: {shown} {what}; {known}")

    def check_size(self, rows: int) -> None:
        """Refuse rows that would take more than `MAX_CELLS` values.

        Raises:
            RequestTooLargeError: says how many rows are possible.
        """
        if rows * self.features > MAX_CELLS:
            raise RequestTooLargeError(
                f"{rows:,} rows of {self.features:,} features are too many for one request: send "
                f"at most {MAX_CELLS // self.features:,} rows"
            )


def _short(text: str) -> str:
    return repr(text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "...")


def _list(names: Iterable[str]) -> str:
    shown = [_short(name) for name in names]
    rest = len(shown) - _MOST_NAMES
    more = f" and {rest} more" if rest > 0 else ""
    return ", ".join(shown[:_MOST_NAMES]) + more
