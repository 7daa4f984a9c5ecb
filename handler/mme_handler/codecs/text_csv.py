"""text/csv: one row per line, with an optional header.

Nearly every body is digits and commas, which a JSON parser reads ten times faster than anything
else here. Whatever it refuses (+1, .5, quotes, categories, mistakes) is read line by line by
`csv_lines`, which decides what is right and words the errors.

A header (`csv_header`) that names the model's features gives their order. In a categorical column a
cell, quoted or not, is a category if the model has one of just this text, even if it is NA or nan;
a number is what `schema.Categories` makes of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import orjson
from numpy.typing import NDArray

from mme_handler.codecs import csv_bulk
from mme_handler.codecs.chunks import CHUNK_BYTES, number_texts, pieces
from mme_handler.codecs.csv_header import header_names, header_order
from mme_handler.codecs.csv_lines import Layout, decode_lines, make_layout
from mme_handler.codecs.matrix import Matrix, stack, to_float32
from mme_handler.codecs.output import Outputs, only_scores, rows
from mme_handler.codecs.registry import Body, Codec, register
from mme_handler.codecs.schema import Schema
from mme_handler.errors import BadRequestError

# With no other bytes than these, commas and newlines, a JSON value can only be a number or null:
# there is no bracket, no quote, and not the letters of true and false.
_VALUE_BYTES = b"0123456789+-.eE \t\rnulaNA"
_QUOTED = re.compile(rb'"[^"]*"')


def decode(body: Body, schema: Schema) -> Matrix:
    """Read a non-empty body.

    Returns:
        A C-contiguous float32 array (rows, features); empty cells and NaN, NA, null are NaN.

    Raises:
        BadRequestError: names the line, and the column if it is about one.
    """
    if len(body) <= CHUNK_BYTES:
        matrix = _fast(bytes(body).rstrip(), b",", schema, range(schema.features))
        if matrix is not None:
            return matrix
    view = memoryview(body)
    separator = _separator(view, schema.features)
    view = _without_blank_end(view, separator)
    header, order = _header(view, separator, schema)
    view, line = view[header:], 2 if header else 1
    if not view:
        raise BadRequestError("the body has no rows; send at least one")
    matrix = _in_bulk(view, separator, schema)
    if matrix is None:
        matrix = _in_pieces(view, separator, line, make_layout(separator, schema, order), schema)
    return matrix if order is None else np.take(matrix, order, axis=1)


def _header(view: memoryview, separator: bytes, schema: Schema) -> tuple[int, list[int] | None]:
    """How many bytes the header takes, 0 if there is none, and the order that it gives."""
    first = next(iter(pieces(view, b"\n"))).partition(b"\n")[0]
    if _fast(first, separator, schema, range(schema.features)) is not None:
        return 0, None
    names = header_names(first, separator, schema)
    if names is None:
        return 0, None
    return min(len(first) + 1, len(view)), header_order(names, schema)


def _in_bulk(view: memoryview, separator: bytes, schema: Schema) -> Matrix | None:
    if len(view) < csv_bulk.SMALLEST or schema.categories or schema.features < 2:
        return None
    return csv_bulk.decode(view, separator, schema.features)


def _in_pieces(
    view: memoryview, separator: bytes, line: int, layout: Layout, schema: Schema
) -> Matrix:
    parts: list[Matrix] = []
    for piece in pieces(view, b"\n"):
        rows = piece.removesuffix(b"\n")
        matrix = _fast(rows, separator, schema, layout.columns)
        parts.append(decode_lines(rows, line, layout) if matrix is None else matrix)
        line += len(parts[-1])
    return stack(parts)


def encode(outputs: Outputs) -> bytes:
    """One line per row, each ended by a newline; NaN and infinity are nan, inf and -inf.

    The values of a single output stand side by side; with several outputs each has a cell, and one
    that has several values for a row is a JSON list in quotes, as AWS's XGBoost image has it.
    """
    scores = only_scores(outputs)
    if scores is not None:
        return _encode_scores(scores)
    if len(outputs) == 1:
        values = outputs[0].values
        return _encode_scores(np.ascontiguousarray(values.reshape(len(values), -1), np.float32))
    lines = []
    for row in rows(outputs):
        cells = (orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY) for value in row.values())
        lines.append(b",".join(map(_cell, cells)))
    return b"\n".join(lines) + b"\n"


def _cell(text: bytes) -> bytes:
    if text == b"null":
        return b"nan"
    return b'"' + text.replace(b'"', b'""') + b'"' if text[:1] in (b"[", b"{") else text


def _encode_scores(predictions: NDArray[np.float32]) -> bytes:
    lines = []
    for text, shown in number_texts(predictions):
        if b"null" in text:
            text = _name_nulls(text, shown)
        if shown.ndim == 1:
            lines.append(text[1:-1].replace(b",", b"\n") + b"\n")
        else:
            lines.append(text[2:-2].replace(b"],[", b"\n") + b"\n")
    return b"".join(lines)


def _name_nulls(text: bytes, rows: NDArray[np.float32]) -> bytes:
    names = [str(value).encode() for value in rows[~np.isfinite(rows)].tolist()]
    first, *others = text.split(b"null")
    return first + b"".join(map(b"".join, zip(names, others, strict=True)))


def _without_blank_end(view: memoryview, separator: bytes) -> memoryview:
    # Tabs at the end may stand between missing values.
    blank = b" \r\n" if separator == b"\t" else None
    end = len(view)
    while end:
        tail = bytes(view[max(0, end - 4096) : end])
        kept = len(tail.rstrip(blank))
        end -= len(tail) - kept
        if kept:
            return view[:end]
    raise BadRequestError("the body is empty; send at least one row")


def _separator(view: memoryview, features: int) -> bytes:
    if features == 1:
        return b","  # nothing to separate: a tab is only white space
    first_line = bytes(view[:CHUNK_BYTES]).partition(b"\n")[0]
    if b'"' in first_line:
        first_line = _QUOTED.sub(b"", first_line)
    return next((s for s in (b",", b";", b"\t") if s in first_line), b",")


def _fast(rows: bytes, separator: bytes, schema: Schema, columns: Sequence[int]) -> Matrix | None:
    """The matrix if the rows make up a JSON list of numbers; else None.

    `columns` are the model's columns of the cells in a row.
    """
    features = schema.features
    if schema.categories and (b"n" in rows or b"N" in rows):
        return None  # a category may be called NA
    if separator != b",":
        if b"," in rows:
            return None
        rows = rows.replace(separator, b",")
    # What is left without the values tells the shape, and whether anything else is in there.
    marks = rows.translate(None, _VALUE_BYTES)
    lines = marks.count(b"\n") + 1
    if len(marks) != features * lines - 1:
        return None
    if marks != ((b"," * (features - 1) + b"\n") * lines)[:-1]:
        return None
    text = b"[" + rows.replace(b"\n", b",") + b"]"
    try:
        values = orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            values = orjson.loads(_missing_as_null(text))
        except orjson.JSONDecodeError:
            return None
    if schema.held and not _code(values, schema, columns):
        return None
    matrix = to_float32(values) if values else None
    return None if matrix is None else matrix.reshape(lines, features)


def _code(values: list[float | None], schema: Schema, columns: Sequence[int]) -> bool:
    """Put codes in place of the categories in rows of numbers; False where it cannot be done."""
    for place, column in enumerate(columns):
        held = schema.held.get(column)
        if held is None:
            continue
        if not held.distinct:  # it matters how the number is written
            return False
        codes = [held.of(value) for value in values[place :: len(columns)]]
        if None in codes:
            return False
        values[place :: len(columns)] = codes
    return True


def _missing_as_null(text: bytes) -> bytes:
    text = text.replace(b"\r,", b",").replace(b"\r]", b"]")
    for word in (b"nan", b"NaN", b"NA"):
        text = text.replace(word, b"null")
    # Each match takes both commas, so every other one of a run is left to the second pass.
    text = text.replace(b",,", b",null,").replace(b",,", b",null,")
    return text.replace(b"[,", b"[null,").replace(b",]", b",null]")


register(Codec("text/csv", decode, encode, aliases=("csv",)))
