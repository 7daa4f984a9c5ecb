"""application/json: rows of numbers in, under any of a few keys; {"predictions": [..]} out.

Accepted are {"instances": [row, ..]}, {"features": row or [row, ..]} and a bare row or [row, ..],
where a row is a list of values or {"features": [value, ..]}. A flat list is always one row.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from mme_handler.codecs.chunks import CHUNK_BYTES, batches, number_texts, pieces
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
from mme_handler.codecs.output import Outputs, only_scores, records
from mme_handler.codecs.registry import Body, Codec, register
from mme_handler.codecs.schema import Schema
from mme_handler.errors import BadRequestError

_CELLS = frozenset({int, float, type(None)})  # not bool, which numpy would take for a number
_MISSING = frozenset({"nan", "na", "null"})
_SHAPES = '{"instances": [row, ..]}, {"features": row} or [row, ..]'

# What surrounds the rows of a body that can be read in pieces.
_HEAD = re.compile(rb'\s*(\{\s*"(?:instances|features)"\s*:\s*)?\[\s*(?=([\[{]))')
_TAIL = re.compile(rb"(?<=[\]}])\s*\]\s*(\}?)\s*\Z")
_EDGE_BYTES = 256


def decode(body: Body, schema: Schema) -> Matrix:
    """Read a non-empty body.

    Returns:
        A C-contiguous float32 array (rows, features); null and "NaN", "NA", "null" are NaN.

    Raises:
        BadRequestError: names the row, counted from 1, and the column if it is about one.
    """
    features = schema.features
    if len(body) > CHUNK_BYTES:
        matrix = _decode_in_pieces(memoryview(body), features)
        if matrix is not None:
            return matrix
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _invalid(error, body) from None
    rows = _rows(document)
    return stack([_matrix(rows[b], b.start + 1, features) for b in batches(len(rows), features)])


def encode(outputs: Outputs) -> bytes:
    """{"predictions": [{"score": x}, ..]}, an object for each row.

    x is a list where an output has several values for a row, an object where they have names; NaN
    and infinity are null.
    """
    scores = only_scores(outputs)
    if scores is None:
        return b'{"predictions":[' + b",".join(records(outputs)) + b"]}"
    return _encode_scores(scores)


def _encode_scores(predictions: NDArray[np.float32]) -> bytes:
    if not len(predictions):
        return b'{"predictions":[]}'
    if predictions.ndim == 1:
        if len(predictions) == 1:  # by far the commonest, and worth a way of its own
            text = orjson.dumps(predictions, option=orjson.OPT_SERIALIZE_NUMPY)
            return b'{"predictions":[{"score":' + text[1:-1] + b"}]}"
        between, replacement = b",", b'},{"score":'
    else:
        between, replacement = b"],[", b']},{"score":['
    scores = [text[1:-1].replace(between, replacement) for text, _ in number_texts(predictions)]
    return b'{"predictions":[{"score":' + b'},{"score":'.join(scores) + b"}]}"


def _decode_in_pieces(view: memoryview, features: int) -> Matrix | None:
    """The matrix, if the body is nothing but a list of lists, or of objects; else None.

    A body of another shape, or with a mistake in its syntax, has a piece that is no list of rows:
    pieces that are each a valid list make up a valid list of the same values.
    """
    head = _HEAD.match(bytes(view[:_EDGE_BYTES]))
    edge = bytes(view[-_EDGE_BYTES:])
    tail = _TAIL.search(edge)
    if not head or not tail or bool(head[1]) != bool(tail[1]):
        return None
    inner = view[head.end() : len(view) - len(edge) + tail.start()]
    kind, last_byte = (list, b"]") if head[2] == b"[" else (dict, b"}")
    parts: list[Matrix] = []
    first = 1
    for piece in pieces(inner, last_byte):
        text = piece.lstrip(b" \t\r\n")
        if parts:
            if not text.startswith(b","):
                return None
            text = text[1:]
        try:
            rows = orjson.loads(b"[" + text + b"]")
        except orjson.JSONDecodeError:
            return None
        if set(map(type, rows)) != {kind}:
            return None
        parts.append(_matrix(rows, first, features))
        first += len(rows)
    return stack(parts)


def _invalid(error: orjson.JSONDecodeError, body: Body) -> BadRequestError:
    hint = "; write a missing value as null" if b"NaN" in bytes(body) else ""
    return BadRequestError(
        f"the body is not valid JSON: {error.msg} at line {error.lineno}, "
        f"column {error.colno}{hint}"
    )


def _rows(document: Any) -> list[Any]:
    """The rows of a document, at least one, each still to be checked."""
    if isinstance(document, dict):
        key = "instances" if "instances" in document else "features"
        if key not in document:
            raise BadRequestError(f'the object has no "instances" or "features"; send {_SHAPES}')
        document = document[key]
    if not isinstance(document, list):
        raise BadRequestError(f"expected a list of rows, got {_describe(document)}; send {_SHAPES}")
    if not document:
        raise BadRequestError("the body has no rows; send at least one")
    return document if isinstance(document[0], list | dict) else [document]


def _matrix(rows: list[Any], first: int, features: int) -> Matrix:
    """The matrix of rows of which the first has the number `first`, or the error."""
    kinds = set(map(type, rows))
    if dict in kinds:
        rows = [_unwrap(row, number) for number, row in enumerate(rows, first)]
        kinds = set(map(type, rows))
    if kinds == {list} and set(map(len, rows)) == {features}:
        plain = _CELLS.issuperset(map(type, chain.from_iterable(rows)))
        matrix = to_float32(rows) if plain else None
        if matrix is not None:
            return matrix
    values = [_row(row, f"row {number}", features) for number, row in enumerate(rows, first)]
    return np.array(values, dtype=np.float32)


def _unwrap(row: Any, number: int) -> Any:
    if not isinstance(row, dict):
        return row
    if "features" not in row:
        raise BadRequestError(f'row {number}: the object has no "features"')
    return row["features"]


def _row(row: Any, where: str, features: int) -> list[float]:
    if not isinstance(row, list):
        raise BadRequestError(f"{where}: expected a list of numbers, got {_describe(row)}")
    if len(row) != features:
        raise wrong_count(where, len(row), features)
    return [_number(value, f"{where}, column {column}") for column, value in enumerate(row, 1)]


def _number(value: Any, where: str) -> float:
    """The cell's value, NaN if it is missing."""
    if value is None or (isinstance(value, str) and value.lower() in _MISSING):
        return NAN
    if type(value) not in _CELLS:
        raise not_a_number(where, _describe(value))
    if abs(value) >= FLOAT32_OVERFLOW:
        raise too_large(where, repr(value))
    return float(value)


def _describe(value: Any) -> str:
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, list):
        return "a list"
    return "an object" if isinstance(value, dict) else orjson.dumps(value).decode()


register(Codec("application/json", decode, encode))
