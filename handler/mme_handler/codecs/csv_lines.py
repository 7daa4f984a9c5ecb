"""The lines of text/csv one by one: cells, quotes, numbers, categories, and what is wrong."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
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
from mme_handler.codecs.schema import Schema
from mme_handler.errors import BadRequestError

MISSING = frozenset({"", "nan", "na", "null"})

_NUMBER_START = frozenset("+-.0123456789")
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
    coded: Sequence[tuple[int, Mapping[str, int]]]
    """The cells of categorical columns, with the codes of their categories."""


def make_layout(separator: bytes, schema: Schema, order: list[int] | None = None) -> Layout:
    """The layout of lines that have feature `column` of the model in cell ``order[column]``."""
    columns: Sequence[int] = range(schema.features)
    if order is not None:
        columns = sorted(columns, key=order.__getitem__)
    coded = [(order[c] if order else c, codes) for c, codes in schema.categories.items() if codes]
    return Layout(separator.decode(), schema, columns, coded)


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
    if layout.coded:
        for column, codes in layout.coded:
            text = cells[column].strip()
            if text in codes and text and text[0] not in _NUMBER_START:
                cells[column] = str(codes[text])
        line = layout.separator.join(cells)
    if line.isascii() and "_" not in line:
        with contextlib.suppress(ValueError):
            values = [float(cell) for cell in cells]
            if sum(map(abs, values)) < FLOAT32_OVERFLOW:  # false if one is NaN
                return values
    return [_value(cells[column], number, column, layout) for column in range(features)]


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
    if value is not None and abs(value) < FLOAT32_OVERFLOW:
        return value
    where = f"line {line}, column {column + 1}"
    if text and _is_category(text, value, layout.columns[column], layout.schema):
        try:
            code = layout.schema.code(layout.columns[column], text)
        except BadRequestError as error:
            raise BadRequestError(f"line {line}, {error}") from None
        assert code is not None, "the column is categorical"  # noqa: S101
        return code
    if value is None:
        raise not_a_number(where, quote(text))
    if abs(value) >= FLOAT32_OVERFLOW:
        raise too_large(where, quote(text))
    return value


def _is_category(text: str, value: float | None, column: int, schema: Schema) -> bool:
    """Whether the text is no number but a category, be it called nan."""
    codes = schema.categories.get(column)
    return codes is not None and (value is None or text in codes)
