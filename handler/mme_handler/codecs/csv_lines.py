"""The lines of text/csv one by one: cells, quotes, numbers, categories, and what is wrong."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from mme_handler.codecs.matrix import (
    FLOAT32_OVERFLOW,
    Matrix,
    not_a_number,
    parse_number,
    quote,
    too_large,
    wrong_count,
)
from mme_handler.codecs.schema import Categories, Schema, read_number
from mme_handler.errors import BadRequestError

MISSING = frozenset({"", "nan", "na", "null"})

# A cell and the separator before it: quoted, with quotes within doubled; or anything else. Nothing
# in it is tried twice, so that no line takes long.
_CELL = r'(?:\A|{0})(?:[^\S{0}]*+"([^"]*+(?:""[^"]*+)*+)"[^\S{0}]*+(?={0}|\Z)|([^{0}]*+))'
_CELLS = {mark: re.compile(_CELL.format(mark)) for mark in (",", ";", "\t")}
_SPARE_CELLS = 100


class Layout(NamedTuple):
    """How the lines of a body are laid out."""

    separator: str
    schema: Schema
    columns: Sequence[int]
    """The model's column of each cell."""
    held: Sequence[tuple[int, Categories]]
    """The cells of columns of which the model holds the categories."""


def make_layout(separator: bytes, schema: Schema, order: list[int] | None = None) -> Layout:
    """The layout of lines that have feature `column` of the model in cell ``order[column]``."""
    columns: Sequence[int] = range(schema.features)
    if order is not None:
        columns = sorted(columns, key=order.__getitem__)
    held = [(order[c] if order else c, categories) for c, categories in schema.held.items()]
    return Layout(separator.decode(), schema, columns, held)


def decode_lines(rows: bytes, first: int, layout: Layout) -> Matrix:
    """The matrix of lines of which the first has the number `first`, its columns as they stand.

    Raises:
        BadRequestError: names the line, and the column if it is about one.
    """
    try:
        text = rows.decode()
    except UnicodeDecodeError as error:
        line = first + rows.count(b"\n", 0, error.start)
        raise BadRequestError(f"line {line}: the body is not valid UTF-8") from None
    if first == 1:
        text = text.removeprefix("\ufeff")
    values = [_row(line, number, layout) for number, line in enumerate(text.split("\n"), first)]
    return np.array(values, dtype=np.float32)


def split(line: str, separator: str, most: int) -> tuple[list[str], int | None]:
    """The cells of a line without quotes around them; of a longer line, the first `most` + 1.

    Returns:
        The cells, and the first that has a quote which does not end on this line. Cells whose
        quotes are not right are left as they are.
    """
    if '"' not in line:
        return line.split(separator, most), None
    cells = []
    open_cell = None
    for number, match in enumerate(islice(_CELLS[separator].finditer(line), most + 1)):
        cell = match[2]
        if cell is None:
            cell = match[1].replace('""', '"')
        elif open_cell is None and cell.count('"') == 1 and cell.lstrip()[0] == '"':
            open_cell = number
        cells.append(cell)
    return cells, open_cell


def parse(text: str) -> float | None:
    """The number, NaN if it is missing, None if it is something else."""
    return parse_number(text, MISSING)


def _row(line: str, number: int, layout: Layout) -> list[float]:
    features = layout.schema.features
    cells = _cells(line, number, layout)
    plain: list[str] | None = cells
    if layout.held:
        plain = _coded(cells, layout)
        line = layout.separator.join(plain or ())
    if plain and line.isascii() and "_" not in line:
        with contextlib.suppress(ValueError):
            values = [float(cell) for cell in plain]
            if sum(map(abs, values)) < FLOAT32_OVERFLOW:  # false if one is NaN
                return values
    return [_value(cells[column], number, column, layout) for column in range(features)]


def _coded(cells: list[str], layout: Layout) -> list[str] | None:
    """The cells with codes in place of categories; None if one takes a closer look."""
    cells = cells.copy()
    for column, categories in layout.held:
        text = cells[column].strip()
        if not text or text not in categories.texts:
            return None
        cells[column] = str(categories.texts[text])
    return cells


def _cells(line: str, number: int, layout: Layout) -> list[str]:
    """As many cells as the model has features, or the error."""
    features = layout.schema.features
    if '"' not in line:
        got = line.count(layout.separator) + 1
        if got == features:
            return line.split(layout.separator)
        if not line.strip():
            raise BadRequestError(f"line {number} is blank")
        raise wrong_count(f"line {number}", got, features)
    most = features + _SPARE_CELLS
    cells, open_cell = split(line, layout.separator, most)
    if open_cell is not None:
        raise BadRequestError(
            f"line {number}, column {open_cell + 1}: the quote is not closed; a line break within "
            "quotes is not supported"
        )
    if len(cells) > most:
        raise BadRequestError(
            f"line {number}: got more than {most} values, the model takes {features}"
        )
    if len(cells) != features:
        raise wrong_count(f"line {number}", len(cells), features)
    return cells


def _value(cell: str, line: int, column: int, layout: Layout) -> float:
    """The cell's number, the code of its category, or NaN if it is missing."""
    text = cell.strip()
    value = parse(text)
    feature = layout.columns[column]
    held = layout.schema.held.get(feature)
    where = f"line {line}, column {column + 1}"
    if held and text and text in held.texts:
        return held.texts[text]
    if value is not None and abs(value) >= FLOAT32_OVERFLOW:
        raise too_large(where, quote(text))
    if value is not None and (held is None or value != value):
        return value
    number = None if value is None else read_number(text)
    try:
        code = layout.schema.code(feature, text if number is None else number)
    except BadRequestError as error:
        raise BadRequestError(f"line {line}, {error}") from None
    if code is None:
        raise not_a_number(where, quote(text))
    return code
