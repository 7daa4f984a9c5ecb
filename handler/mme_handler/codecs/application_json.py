"""application/json: rows in, in any of the shapes below; {"predictions": [..]} out.

A row is a list of values in the model's order, {"features": [value, ..]}, or a record by feature
name, {"AREA": 1, "ROOMS": 2}, its keys in any order. A value is a number, null or "NaN", "NA",
"null" for a missing one, or the text of a category in a categorical column. Rows come as

- [row, ..], or the same under "instances", "inputs", "features" or "dataframe_records";
- one row alone: a flat list, bare or under these keys, or a record;
- a list of values for each feature: {"AREA": [1, 2], "ROOMS": [3, 4]}, bare or under "inputs";
- {"columns": [name, ..], "data": [[value, ..], ..]}, bare or under "dataframe_split";
- tensors of the open inference protocol (json_tensors) under "inputs".

Where a document could be read in two ways: an object whose keys are exactly the model's feature
names means the features, whatever they are called. Of other objects the first of "instances",
"dataframe_records", "inputs", "features", "dataframe_split" and "columns" counts, and keys besides
are ignored. A flat list is always one row. An object in a list whose "features" is a list is a row
of these values. A text that is a category of its column is never "missing"; a number in such a
column is what `schema.Categories` makes of it. The body may begin with a byte order mark.
"""

from __future__ import annotations

import re

import numpy as np
import orjson
from numpy.typing import NDArray

from mme_handler.codecs.chunks import CHUNK_BYTES, number_texts, pieces
from mme_handler.codecs.json_rows import decode_rows
from mme_handler.codecs.json_shapes import decode_document
from mme_handler.codecs.matrix import Matrix, stack
from mme_handler.codecs.output import Outputs, only_scores, records
from mme_handler.codecs.registry import Body, Codec, register
from mme_handler.codecs.schema import Schema
from mme_handler.errors import BadRequestError

__all__ = ["decode", "decode_rows", "encode"]

# What surrounds the rows of a body that can be read in pieces.
_KEYS = rb'instances|features|dataframe_records|inputs(?="\s*:\s*\[\s*\[)'  # not tensors
_HEAD = re.compile(rb'\s*(\{\s*"(' + _KEYS + rb')"\s*:\s*)?\[\s*(?=([\[{]))')
_TAIL = re.compile(rb"(?<=[\]}])\s*\]\s*(\}?)\s*\Z")
_EDGE_BYTES = 256
_BOM = b"\xef\xbb\xbf"


def decode(body: Body, schema: Schema) -> Matrix:
    """Read a non-empty body.

    Returns:
        A C-contiguous float32 array (rows, features); null and "NaN", "NA", "null" are NaN.

    Raises:
        BadRequestError: names the row, counted from 1, and the column if it is about one.
        RequestTooLargeError: there are too many rows.
    """
    if bytes(body[: len(_BOM)]) == _BOM:
        body = memoryview(body)[len(_BOM) :]
    if len(body) > CHUNK_BYTES:
        matrix = _decode_in_pieces(memoryview(body), schema)
        if matrix is not None:
            return matrix
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _invalid(error, body) from None
    return decode_document(document, schema)


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


def _decode_in_pieces(view: memoryview, schema: Schema) -> Matrix | None:
    """The matrix, if the body is nothing but a list of lists, or of objects; else None.

    A body of another shape, or with a mistake in its syntax, has a piece that is no list of rows:
    pieces that are each a valid list make up a valid list of the same values.
    """
    head = _HEAD.match(bytes(view[:_EDGE_BYTES]))
    edge = bytes(view[-_EDGE_BYTES:])
    tail = _TAIL.search(edge)
    if not head or not tail or bool(head[1]) != bool(tail[1]):
        return None
    if head[2] and schema.names == (head[2].decode(),):
        return None  # the list may be a feature's values
    inner = view[head.end() : len(view) - len(edge) + tail.start()]
    kind, last_byte = (list, b"]") if head[3] == b"[" else (dict, b"}")
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
        parts.append(decode_rows(rows, first, schema))
        first += len(rows)
    return stack(parts)


def _invalid(error: orjson.JSONDecodeError, body: Body) -> BadRequestError:
    hint = "; write a missing value as null" if b"NaN" in bytes(body) else ""
    return BadRequestError(
        f"the body is not valid JSON: {error.msg} at line {error.lineno}, "
        f"column {error.colno}{hint}"
    )


register(Codec("application/json", decode, encode, aliases=("json",)))
