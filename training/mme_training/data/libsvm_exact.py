"""libsvm read token by token: slow, but it decides what is right and words what is not."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mme_handler.codecs.matrix import FLOAT32_OVERFLOW, parse_number
from mme_training.data.dataset import Floats
from mme_training.data.lines import Block, decoded, show
from mme_training.errors import UserError

MISSING = frozenset({"na", "null"})
"""What stands for a missing value, in small letters, besides nan."""

_MOST_COLUMNS = 2**31 - 1
_MOST_QID = 2**32 - 1
_DIGITS = 18  # of an int64


class Shape(NamedTuple):
    """What the first row has, and so has every other."""

    weighted: bool
    queries: bool
    where: str
    """The first row's place."""


class Rows(NamedTuple):
    """What some lines hold; `indices` and `values` are those of all rows, one after the other."""

    label: Floats
    weight: Floats | None
    qid: NDArray[np.int64] | None
    sizes: NDArray[np.int64]
    """How many values each row has."""
    indices: NDArray[np.int32]
    """Within a row they rise."""
    values: Floats


class _Row(NamedTuple):
    label: float
    weight: float | None
    qid: int | None
    cells: dict[int, float]


def shape(block: Block) -> Shape | None:
    """What the first row of a block has; None if there is no row."""
    for number, line in decoded(block):
        tokens = line.partition("#")[0].split()
        if tokens:
            queries = len(tokens) > 1 and tokens[1].startswith("qid:")
            return Shape(":" in tokens[0], queries, block.where(number))
    return None


def read(block: Block, expected: Shape, columns: int | None) -> Rows:
    """Read the lines of a block; `columns` is how many features there may be.

    Raises:
        UserError: names the file and the line.
    """
    rows = []
    for number, line in decoded(block):
        tokens = line.partition("#")[0].split()
        if tokens:
            where = block.where(number)
            row = _row(tokens, where, columns)
            _check_shape(row, where, expected)
            rows.append(row)
    cells = [cell for row in rows for cell in sorted(row.cells.items())]
    kept = [(index, value) for index, value in cells if not math.isnan(value)]
    sizes = [sum(not math.isnan(value) for value in row.cells.values()) for row in rows]
    return Rows(
        np.array([row.label for row in rows], np.float32),
        np.array([row.weight for row in rows], np.float32) if expected.weighted else None,
        np.array([row.qid for row in rows], np.int64) if expected.queries else None,
        np.array(sizes, np.int64),
        np.array([index for index, _ in kept], np.int32),
        np.array([value for _, value in kept], np.float32),
    )


def _row(tokens: list[str], where: str, columns: int | None) -> _Row:
    first, colon, weight = tokens[0].partition(":")
    label = _number(first, f"{where}: the label")
    instance = _number(weight, f"{where}: the weight") if colon else None
    if instance is not None and instance < 0:
        raise UserError(f"{where}: the weight is negative: {show(weight)}")
    qid = None
    if len(tokens) > 1 and tokens[1].startswith("qid:"):
        qid = _whole(tokens[1][4:])
        if qid is None or qid > _MOST_QID:
            raise UserError(
                f"{where}: {show(tokens[1])} is not qid:number with a whole number below 2**32"
            )
    cells: dict[int, float] = {}
    for token in tokens[1 if qid is None else 2 :]:
        index, value = _cell(token, where)
        if index in cells:
            raise UserError(f"{where}: index {index} is there twice")
        if columns is not None and index >= columns:
            raise UserError(
                f"{where}: index {index} is beyond the training channel's {columns} features, "
                f"which are 0 to {columns - 1}"
            )
        cells[index] = value
    return _Row(label, instance, qid, cells)


def _cell(token: str, where: str) -> tuple[int, float]:
    text, colon, value = token.partition(":")
    index = _whole(text)
    if not colon or index is None:
        raise UserError(
            f"{where}: {show(token)} is not index:value with a whole number of at least 0 as the "
            "index"
        )
    if index >= _MOST_COLUMNS:
        raise UserError(f"{where}: index {show(text)} is too large")
    number = parse_number(value, MISSING)
    if number is None:
        raise UserError(f"{where}, index {index}: {show(value)} is not a number")
    _check_size(number, value, f"{where}, index {index}: the value")
    return index, number


def _number(text: str, what: str) -> float:
    number = parse_number(text, MISSING)
    if number is None:
        raise UserError(f"{what} {show(text)} is not a number")
    if math.isnan(number):
        raise UserError(f"{what} is missing: {show(text)}")
    _check_size(number, text, what)
    return number


def _check_size(number: float, text: str, what: str) -> None:
    if abs(number) >= FLOAT32_OVERFLOW:
        raise UserError(f"{what} is infinite or too large for a float32: {show(text)}")


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else None


def _check_shape(row: _Row, where: str, expected: Shape) -> None:
    for what, here, first in (
        ("weight", row.weight is not None, expected.weighted),
        ("qid", row.qid is not None, expected.queries),
    ):
        if here != first:
            has = f"has a {what}" if here else f"has no {what}"
            other = "has one" if first else "has none"
            raise UserError(f"{where} {has}, {expected.where} {other}; give one for each row")
