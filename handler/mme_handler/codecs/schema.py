"""What a model takes: which columns, in which order, and what counts as a missing value."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from mme_handler.errors import BadRequestError, RequestTooLargeError

# A few bytes can stand for a whole row where a format leaves values out: 256 MiB of float32.
MAX_CELLS: Final = 1 << 26
_MOST_NAMES: Final = 10
_MOST_CHARACTERS: Final = 60


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of a model."""

    features: int
    """How many values the model takes in a row."""

    names: tuple[str, ...] | None = None
    """The features' names in the model's order; None if the model was trained without."""

    categories: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    """For each categorical column: the code of each category that has a text.

    A request may send the text or the code; the mapping is empty where the model knows only codes.
    """

    missing: float = math.nan
    """The number that means "missing" besides NaN."""

    index_base: Literal[0, 1] = 0
    """The index of the first feature in text/libsvm."""

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

    def code(self, column: int, text: str) -> float | None:
        """The code of the category `text`; None if the column is not categorical.

        Raises:
            BadRequestError: the model does not know the category.
        """
        codes = self.categories.get(column)
        if codes is None:
            return None
        code = codes.get(text)
        if code is None:
            known = f"known are {_list(codes)}" if codes else "the model takes codes, not texts"
            raise BadRequestError(
                f"{self.label(column)}: {_short(text)} is not a category of the model; {known}"
            )
        return float(code)

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
