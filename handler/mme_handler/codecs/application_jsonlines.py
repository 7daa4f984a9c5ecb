"""application/jsonlines: a JSON value for each row on a line of its own.

A row is what it is within application/json: a list of numbers, {"features": [..]}, or a record by
feature name. Answers are {"score": x} and a newline for each row.
"""

from __future__ import annotations

import orjson

from mme_handler.codecs.chunks import number_texts
from mme_handler.codecs.json_rows import decode_rows
from mme_handler.codecs.lines import blank_line, line_pieces
from mme_handler.codecs.matrix import Matrix, stack
from mme_handler.codecs.output import Outputs, only_scores, records
from mme_handler.codecs.registry import Body, Codec, register
from mme_handler.codecs.schema import Schema
from mme_handler.errors import BadRequestError

_NAN_WORDS = (b"NaN", b"nan")


def decode(body: Body, schema: Schema) -> Matrix:
    """Read a non-empty body; blank lines at its end are ignored.

    Returns:
        A C-contiguous float32 array (rows, features).

    Raises:
        BadRequestError: names the line, and the column if it is about one.
        RequestTooLargeError: the rows would take too much memory.
    """
    parts: list[Matrix] = []
    for first, text in line_pieces(body):
        lines = text.split(b"\n")
        schema.check_size(first - 1 + len(lines))
        try:
            rows = [orjson.loads(line) for line in lines]
        except orjson.JSONDecodeError:
            raise _invalid(lines, first) from None
        parts.append(_matrix(rows, first, schema))
    return stack(parts)


def encode(outputs: Outputs) -> bytes:
    """{"score":x} and a newline for each row, or an object of all outputs.

    x is a list where an output has several values for a row, an object where they have names; NaN
    and infinity are null.
    """
    scores = only_scores(outputs)
    if scores is None:
        return b"".join(record + b"\n" for record in records(outputs))
    if not len(scores):
        return b""
    if scores.ndim == 1:
        between, replacement = b",", b'}\n{"score":'
    else:
        between, replacement = b"],[", b']}\n{"score":['
    texts = [text[1:-1].replace(between, replacement) for text, _ in number_texts(scores)]
    return b'{"score":' + b'}\n{"score":'.join(texts) + b"}\n"


def _matrix(rows: list[object], first: int, schema: Schema) -> Matrix:
    try:
        return decode_rows(rows, first, schema)
    except BadRequestError as error:
        message = str(error)
        if not message.startswith("row "):
            raise
        # Each row has one line, and a line is what an editor counts.
        raise BadRequestError("line " + message.removeprefix("row ")) from None


def _invalid(lines: list[bytes], first: int) -> BadRequestError:
    """The error for the first of `lines` that is not JSON; there must be one."""
    for number, line in enumerate(lines, first):
        if not line.strip():
            return blank_line(number)
        try:
            orjson.loads(line)
        except orjson.JSONDecodeError as error:
            hint = ""
            if any(word in line for word in _NAN_WORDS):
                hint = "; write a missing value as null"
            return BadRequestError(
                f"line {number}: not valid JSON: {error.msg} at column {error.colno}{hint}"
            )
    raise AssertionError("every line is valid JSON")


register(
    Codec(
        "application/jsonlines",
        decode,
        encode,
        aliases=("application/x-jsonlines", "application/x-ndjson", "jsonlines"),
    )
)
