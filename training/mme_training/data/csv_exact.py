"""CSV read cell by cell: slow, but it decides what is right and words what is not."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from mme_handler.codecs.csv_lines import parse
from mme_handler.codecs.matrix import FLOAT32_OVERFLOW
from mme_training.data.csv_layout import Layout
from mme_training.data.dataset import Floats
from mme_training.data.lines import Block, decoded, show
from mme_training.errors import UserError


class Rows(NamedTuple):
    """What some lines hold."""

    features: Floats
    """(rows, features), C-contiguous; NaN where a value is missing."""
    label: Floats
    """(rows,), or (rows, labels) if there are several."""
    weight: Floats | None


def read(block: Block, layout: Layout) -> Rows:
    """Read the lines of a block.

    Raises:
        UserError: names the file, the line and the column.
    """
    rows = [
        _row(line, block.where(number), layout) for number, line in decoded(block, layout.blank)
    ]
    matrix = np.array(rows, np.float32).reshape(len(rows), layout.columns)
    return divided(matrix, layout)


def divided(matrix: Floats, layout: Layout) -> Rows:
    """The columns (rows, layout.columns) as labels, weight and features."""
    label = matrix[:, : layout.labels]
    return Rows(
        np.ascontiguousarray(matrix[:, layout.before :]),
        np.ascontiguousarray(label[:, 0] if layout.labels == 1 else label),
        matrix[:, layout.labels].copy() if layout.weighted else None,
    )


def _row(line: str, where: str, layout: Layout) -> list[float]:
    cells = line.split(layout.delimiter)
    if len(cells) != layout.columns:
        _check_quotes(cells, where)
        columns = "column" if len(cells) == 1 else "columns"
        raise UserError(
            f"{where}: {len(cells)} {columns} where line {layout.line} has {layout.columns}"
        )
    values = [_number(cell.strip(), where, column, layout) for column, cell in enumerate(cells, 1)]
    for column in range(layout.before):
        if math.isnan(values[column]):
            kind = _kind(column + 1, layout)
            state = "missing" if cells[column].strip(' "') else "empty"
            raise UserError(f"{where}: the {kind} (column {column + 1}) is {state}")
    if layout.weighted and values[layout.labels] < 0:
        raise UserError(
            f"{where}: the weight (column {layout.labels + 1}) is negative: "
            f"{show(cells[layout.labels].strip())}"
        )
    return values


def _number(text: str, where: str, column: int, layout: Layout) -> float:
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].strip()
    value = parse(text)
    if value is None:
        _check_quotes([text], where, column)
        raise UserError(f"{where}, column {column}: {show(text)} is not a number")
    if abs(value) >= FLOAT32_OVERFLOW:
        kind = _kind(column, layout)
        what = f"the {kind} (column {column})" if kind else f"column {column}"
        raise UserError(f"{where}: {what} is infinite or too large for a float32: {show(text)}")
    return value


def _kind(column: int, layout: Layout) -> str:
    if column <= layout.labels:
        return "label"
    return "weight" if column <= layout.before else ""


def _check_quotes(cells: list[str], where: str, first: int = 1) -> None:
    for column, cell in enumerate(cells, first):
        if cell.count('"') % 2:
            raise UserError(
                f"{where}, column {column}: there is a quote that is not closed in the cell "
                f"{show(cell.strip())}; cells are plain numbers"
            )
