"""text/csv: one row of numbers per line, with an optional header.

Nearly every body is digits and commas, which a JSON parser reads ten times faster than anything
else here. Whatever it refuses (+1, .5, quotes, headers, mistakes) is read line by line by the slow
path, which decides what is right and words the errors.
"""

from __future__ import annotations

import contextlib
import csv

import numpy as np
import orjson
from numpy.typing import NDArray

from mme_handler.codecs.chunks import CHUNK_BYTES, number_texts, pieces
from mme_handler.codecs.matrix import (
    FLOAT32_OVERFLOW,
    NAN,
    Matrix,
    not_a_number,
    quote,
    stack,
    to_float32,
    too_large,
    wrong_count,
)
from mme_handler.codecs.output import Outputs, only_scores, rows
from mme_handler.codecs.registry import Body, Codec, register
from mme_handler.codecs.schema import Schema
from mme_handler.errors import BadRequestError

# With no other bytes than these, commas and newlines, a JSON value can only be a number or null:
# there is no bracket, no quote, and not the letters of true and false.
_VALUE_BYTES = b"0123456789+-.eE \t\rnulaNA"
_MISSING = frozenset({"", "nan", "na", "null"})
_BOM = b"\xef\xbb\xbf"


def decode(body: Body, schema: Schema) -> Matrix:
    """Read a non-empty body.

    Returns:
        A C-contiguous float32 array (rows, features); empty cells and NaN, NA, null are NaN.

    Raises:
        BadRequestError: names the line, and the column if it is about one.
    """
    features = schema.features
    if len(body) <= CHUNK_BYTES:
        matrix = _fast(bytes(body).rstrip(), b",", features)
        if matrix is not None:
            return matrix
    view = memoryview(body)
    separator = _separator(view, features)
    view = _without_blank_end(view, separator)
    parts: list[Matrix] = []
    line = 1
    for piece in pieces(view, b"\n"):
        rows = piece.removesuffix(b"\n")
        matrix = _fast(rows, separator, features)
        if matrix is None and line == 1:
            header, newline, rest = rows.partition(b"\n")
            if _is_header(header, separator, features):
                line, rows = 2, rest
                if not newline:
                    continue
                matrix = _fast(rows, separator, features)
        if matrix is None:
            matrix = _slow(rows, line, separator, features)
        parts.append(matrix)
        line += len(matrix)
    if not parts:
        raise BadRequestError("the body has no rows; send at least one")
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
    return next((s for s in (b",", b";", b"\t") if s in first_line), b",")


def _fast(rows: bytes, separator: bytes, features: int) -> Matrix | None:
    """The matrix if the rows make up a JSON list of numbers; else None."""
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
    matrix = to_float32(values) if values else None
    return None if matrix is None else matrix.reshape(lines, features)


def _missing_as_null(text: bytes) -> bytes:
    text = text.replace(b"\r,", b",").replace(b"\r]", b"]")
    for word in (b"nan", b"NaN", b"NA"):
        text = text.replace(word, b"null")
    # Each match takes both commas, so every other one of a run is left to the second pass.
    text = text.replace(b",,", b",null,").replace(b",,", b",null,")
    return text.replace(b"[,", b"[null,").replace(b",]", b",null]")


def _slow(rows: bytes, first: int, separator: bytes, features: int) -> Matrix:
    """The matrix of rows of which the first is line `first`, or the error that says why not."""
    try:
        text = rows.decode()
    except UnicodeDecodeError as error:
        line = first + rows.count(b"\n", 0, error.start)
        raise BadRequestError(f"line {line}: the body is not valid UTF-8") from None
    if first == 1:
        text = text.removeprefix("\ufeff")
    values = [
        _row(line, number, separator.decode(), features)
        for number, line in enumerate(text.split("\n"), first)
    ]
    return np.array(values, dtype=np.float32)


def _row(line: str, number: int, separator: str, features: int) -> list[float]:
    got = line.count(separator) + 1
    if got != features:
        if not line.strip():
            raise BadRequestError(f"line {number} is blank")
        raise wrong_count(f"line {number}", got, features)
    cells = line.split(separator)
    if line.isascii() and "_" not in line:
        with contextlib.suppress(ValueError):
            values = [float(cell) for cell in cells]
            if sum(map(abs, values)) < FLOAT32_OVERFLOW:  # false if one is NaN
                return values
    return [_number(cell, number, column) for column, cell in enumerate(cells, 1)]


def _number(cell: str, line: int, column: int) -> float:
    """The cell's value, NaN if it is missing."""
    text = cell.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].strip()
    value = _parse(text)
    if value is None:
        raise not_a_number(f"line {line}, column {column}", quote(text))
    if abs(value) >= FLOAT32_OVERFLOW:
        raise too_large(f"line {line}, column {column}", quote(text))
    return value


def _parse(text: str) -> float | None:
    """The number, NaN if it is missing, None if it is something else."""
    if text.lower() in _MISSING:
        return NAN
    # `float` also takes 1_000 and the digits of other scripts.
    if "_" in text or not text.isascii():
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _is_header(line: bytes, separator: bytes, features: int) -> bool:
    """Whether the line has text in it and no number."""
    mark = separator.decode()
    try:
        text = line.removeprefix(_BOM).decode()
        if '"' in text:  # a quoted name may hold the separator
            cells = next(csv.reader([text.rstrip("\r")], delimiter=mark, skipinitialspace=True))
        elif text.count(mark) + 1 == features:
            cells = text.split(mark)
        else:
            return False
    except (UnicodeDecodeError, csv.Error):
        return False
    if len(cells) != features:
        return False
    cells = [cell.strip() for cell in cells]
    return any(_parse(cell) is None for cell in cells) and all(
        _parse(cell) is None or cell.lower() in _MISSING for cell in cells
    )


register(Codec("text/csv", decode, encode))
