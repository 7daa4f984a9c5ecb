"""text/libsvm: a row of `[label] [qid:n] index:value ..` per line, read but not written.

An index that a line leaves out is a missing value, as XGBoost has it, not a zero. Labels and query
ids are ignored, and so is what follows a `#`.

Lines of plain numbers are read all together with a JSON parser and numpy. Whatever does not look
like them (comments, query ids, nan, +1, mistakes) is read line by line by the slow path, which
decides what is right and words the errors.
"""

from __future__ import annotations

import re
import sys
import time
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from mme_handler.codecs.arrays import recode
from mme_handler.codecs.lines import blank_line, line_pieces, not_utf8
from mme_handler.codecs.matrix import (
    FLOAT32_OVERFLOW,
    Matrix,
    not_a_number,
    parse_number,
    quote,
    too_large,
)
from mme_handler.codecs.registry import Body, Codec, register
from mme_handler.codecs.schema import Schema
from mme_handler.errors import BadRequestError

_MISSING = frozenset({"na", "null"})  # besides nan, which is a number

_NUMBER_BYTES = b"0123456789+-.eE"
_MARK_BYTES = b" \t:\n"
_TO_COMMAS = bytes.maketrans(_MARK_BYTES, b"," * len(_MARK_BYTES))
_COLON, _NEWLINE = ord(":"), ord("\n")
_ODD_INDEX = re.compile(rb"[-+.eE]\d*:")
_PARTS_PER_STEP = 8  # to write them takes far less than to read them
_DIGITS = 18  # of an int64


class _Cells(NamedTuple):
    """The values of a few lines: `values[i]` is at `rows[i]`, `columns[i]` of `height` rows."""

    height: int
    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    values: Matrix


def decode(body: Body, schema: Schema) -> Matrix:
    """Read a non-empty body; `schema.index_base` is the index of the first feature.

    Returns:
        A C-contiguous float32 array (rows, features); what a line leaves out is NaN.

    Raises:
        BadRequestError: names the line, and the index if it is about one.
        RequestTooLargeError: the rows would take too much memory.
    """
    parts: list[_Cells] = []
    for first, lines in line_pieces(body):
        cells = _fast(lines, schema)
        parts.append(_slow(lines, first, schema) if cells is None else cells)
    count = sum(part.height for part in parts)
    if not count:
        raise BadRequestError("the body has no rows; send at least one")
    schema.check_size(count)
    matrix = np.full((count, schema.features), np.nan, dtype=np.float32)
    start = 0
    for number, part in enumerate(parts, 1):
        matrix[start + part.rows, part.columns] = part.values
        start += part.height
        if number % _PARTS_PER_STEP == 0:
            time.sleep(0)
    recode(matrix, schema)
    return matrix


def _fast(lines: bytes, schema: Schema) -> _Cells | None:
    """The values if each line is plain numbers, in order and in range; else None."""
    lines = (lines + b"\n").replace(b"\r\n", b"\n").replace(b" \n", b"\n")
    # What is left without the numbers: one mark after each of them.
    marks = lines.translate(None, _NUMBER_BYTES)
    most = lines.count(b"\n") * (2 * schema.features + 1)
    if len(marks) > most or marks.translate(None, _MARK_BYTES) or _ODD_INDEX.search(lines):
        return None
    try:
        numbers = orjson.loads(b"[" + lines[:-1].translate(_TO_COMMAS) + b"]")
    except orjson.JSONDecodeError:
        return None
    if len(numbers) != len(marks):
        return None
    return _cells(np.array(numbers, np.float64), np.frombuffer(marks, np.uint8), schema)


def _cells(numbers: NDArray[np.float64], marks: NDArray[np.uint8], schema: Schema) -> _Cells | None:
    """The values among `numbers`, each followed by one of `marks`; None if there is a mistake."""
    is_index = marks == _COLON
    is_value = np.roll(is_index, 1)  # the last mark is a newline
    ends = marks == _NEWLINE
    is_first = np.roll(ends, 1)
    is_label = ~(is_index | is_value)
    if (is_index & is_value).any() or (is_label & ~is_first).any():
        return None
    index, values = numbers[is_index], numbers[is_value]
    if (np.abs(values) >= FLOAT32_OVERFLOW).any():
        return None
    columns = index - schema.index_base
    if ((columns < 0) | (columns >= schema.features)).any():
        return None
    rows = (np.cumsum(is_first) - 1)[is_value]
    cells = rows * schema.features + columns
    if (np.diff(cells) <= 0).any() and len(np.unique(cells)) < len(cells):
        return None
    return _Cells(
        int(ends.sum()),
        rows.astype(np.int32),
        columns.astype(np.int32),
        values.astype(np.float32),
    )


def _slow(lines: bytes, first: int, schema: Schema) -> _Cells:
    """The values of lines of which the first is line `first`, or the error that says why not."""
    try:
        text = lines.decode()
    except UnicodeDecodeError as error:
        raise not_utf8(lines, first, error) from None
    found: list[dict[int, float]] = []
    for number, line in enumerate(text.split("\n"), first):
        content, comment, _ = line.partition("#")
        # With a label, a query id and one feature too many, the mistake is among these.
        tokens = content.split(None, schema.features + 3)
        if tokens:
            found.append(_row(tokens, number, schema))
        elif not comment:
            raise blank_line(number)
    sizes = [len(row) for row in found]
    columns = [column for row in found for column in row]
    values = [value for row in found for value in row.values()]
    return _Cells(
        len(found),
        np.repeat(np.arange(len(found), dtype=np.int32), sizes),
        np.array(columns, np.int32),
        np.array(values, np.float32),
    )


def _row(tokens: list[str], line: int, schema: Schema) -> dict[int, float]:
    """Each column that the line gives, with its value."""
    row: dict[int, float] = {}
    for token in _without_label(tokens, line):
        index, colon, text = token.partition(":")
        if not colon or not _is_whole(index):
            raise BadRequestError(
                f"line {line}: {quote(token)} is not index:value with a whole number as the index"
            )
        column = _column(index, line, schema)
        if column in row:
            raise BadRequestError(f"line {line}: index {index} is there twice")
        row[column] = _value(text, f"line {line}, index {index}")
    return row


def _without_label(tokens: list[str], line: int) -> list[str]:
    if ":" not in tokens[0]:
        label, *tokens = tokens
        if parse_number(label, _MISSING) is None:
            raise not_a_number(f"line {line}, label", quote(label))
    if tokens and tokens[0].startswith("qid:") and _is_whole(tokens[0][4:]):
        del tokens[0]
    return tokens


def _column(index: str, line: int, schema: Schema) -> int:
    base, features = schema.index_base, schema.features
    number = int(index) if len(index) <= _DIGITS else sys.maxsize
    if base <= number < base + features:
        return number - base
    hint = ""
    if number == (0 if base else features):
        hint = (
            f"; if the indices of this body begin at {1 - base}, declare it with "
            "libsvm_index_base in the model's settings, or MME_LIBSVM_INDEX_BASE"
        )
    shown = index if len(index) <= _DIGITS else index[:_DIGITS] + "..."
    raise BadRequestError(
        f"line {line}: index {shown} is out of the model's range, {base} to "
        f"{base + features - 1}{hint}"
    )


def _value(text: str, where: str) -> float:
    value = parse_number(text, _MISSING)
    if value is None:
        raise not_a_number(where, quote(text))
    if abs(value) >= FLOAT32_OVERFLOW:
        raise too_large(where, quote(text))
    return value


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdigit()


register(
    Codec(
        "text/libsvm",
        decode,
        aliases=("text/x-libsvm", "application/x-libsvm", "libsvm"),
        expands=True,
    )
)
