"""Which codec reads a Content-Type, and which one answers an Accept header."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mme_handler.codecs.matrix import Matrix
from mme_handler.codecs.output import SCORE, Output, Outputs
from mme_handler.codecs.schema import Schema
from mme_handler.errors import BadRequestError, NotAcceptableError, UnsupportedContentTypeError

Body = bytes | bytearray | memoryview

DEFAULT_CONTENT_TYPE = "text/csv"
DEFAULT_ACCEPT = "application/json"

_WEIGHT = re.compile(r"0(?:\.\d{0,3})?|1(?:\.0{0,3})?")


class Codec(NamedTuple):
    """One content type: how to read it and how to write it; None where it cannot.

    `decode(body, schema)` takes a non-empty body and returns a C-contiguous float32 matrix (rows,
    features) with at least one row; `encode(outputs)` takes at least one output. `aliases` are
    other names of the same type.
    """

    content_type: str
    decode: Callable[[Body, Schema], Matrix] | None = None
    encode: Callable[[Outputs], bytes] | None = None
    aliases: tuple[str, ...] = ()
    expands: bool = False
    """Whether a small body can stand for many rows."""


class Encoded(NamedTuple):
    """A response body and the content type it is written in."""

    body: bytes
    content_type: str


_codecs: dict[str, Codec] = {}


def register(codec: Codec) -> None:
    """Add `codec` to the table, in place of an earlier one of the same content type."""
    for name in (codec.content_type, *codec.aliases):
        _codecs[name] = codec


def expands(content_type: str) -> bool:
    """Whether a small body of this content type can stand for many rows."""
    codec = _codecs.get(content_type) or _codecs.get(_media_type(content_type))
    return codec is not None and codec.expands


def decode(body: Body, content_type: str | None, schema: Schema) -> Matrix:
    """Read a request body.

    Args:
        body: the body as received.
        content_type: the header's value; parameters are ignored, for every type here is UTF-8.
            None or blank means text/csv.
        schema: the columns of the model.

    Returns:
        A C-contiguous float32 array (rows, features) with at least one row; NaN is "missing".

    Raises:
        UnsupportedContentTypeError: no codec reads `content_type`.
        BadRequestError: the body is malformed, or does not fit the model.
        RequestTooLargeError: its rows would take too much memory.
    """
    codec = _codecs.get(content_type or DEFAULT_CONTENT_TYPE)
    if codec is None:  # not just the type's own name
        codec = _codecs.get(_media_type(content_type or "") or DEFAULT_CONTENT_TYPE)
    if codec is None or codec.decode is None:
        readable = ", ".join(_content_types(lambda codec: codec.decode))
        raise UnsupportedContentTypeError(
            f"content type {content_type!r:.80} is not supported; send one of: {readable}"
        )
    if not len(body):
        raise BadRequestError("the body is empty; send at least one row")
    matrix = codec.decode(body, schema)
    if schema.missing == schema.missing:  # not NaN, which is "missing" anyway
        matrix[matrix == np.float32(schema.missing)] = np.nan
    return matrix


def encode(
    predictions: NDArray[np.float32] | Outputs,
    accept: str | None,
    default: str = DEFAULT_ACCEPT,
    encoders: Mapping[str, Callable[[Outputs], bytes]] | None = None,
) -> Encoded:
    """Write predictions in the content type that the client likes best.

    Args:
        predictions: float32 array (rows,), or (rows, outputs); or several outputs with names.
        accept: the Accept header's value; None or blank means `default`.
        default: the content type to use when the client leaves the choice open.
        encoders: for some content types what to write in place of the usual.

    Raises:
        NotAcceptableError: no codec writes a type that the client accepts.
        ValueError: `predictions` is an array of no dimension, or of more than two.
    """
    if isinstance(predictions, np.ndarray):
        if predictions.ndim not in (1, 2):
            raise ValueError(f"predictions have {predictions.ndim} dimensions, not 1 or 2")
        predictions = (Output(SCORE, np.ascontiguousarray(predictions, dtype=np.float32)),)
    codec = _codecs.get(accept or default)
    if codec is None or codec.encode is None:  # a range, several types, or one that is unknown
        codec = _codecs[choose_accept(accept, default)]
    assert codec.encode is not None, "choose_accept names only what can be written"  # noqa: S101
    encode = encoders.get(codec.content_type, codec.encode) if encoders else codec.encode
    body = encode(predictions)
    return Encoded(body, codec.content_type)


def choose_accept(accept: str | None, default: str = DEFAULT_ACCEPT) -> str:
    """The content type to answer with: the acceptable one of highest q.

    The most specific range that matches a type gives its q, as RFC 9110 has it. Equal q: the more
    specific range wins, then the earlier one, then `default`, then text/csv. An entry with a
    malformed q is ignored.

    Raises:
        NotAcceptableError: nothing that can be written is acceptable.
    """
    if accept is None or accept in ("", "*/*"):
        accept = default
    if (codec := _codecs.get(accept)) and codec.encode:
        return codec.content_type
    if not accept.strip(" ,\t"):
        accept = default
    ranges = _parse_accept(accept)
    preferred = _media_type(default)
    # `max` keeps the first of equals.
    names = sorted(
        (name for name, codec in _codecs.items() if codec.encode),
        key=lambda name: (
            name != preferred,
            name != "text/csv",
            _codecs[name].content_type != name,
        ),
    )
    best = max(names, key=lambda name: _preference(name, ranges))
    if _preference(best, ranges)[0] <= 0:
        types = ", ".join(_content_types(lambda codec: codec.encode))
        raise NotAcceptableError(f"cannot answer with {accept!r:.80}; accept one of: {types}")
    return _codecs[best].content_type


def _content_types(able: Callable[[Codec], object]) -> list[str]:
    """The content types of the codecs that are `able`, without their other names."""
    return sorted({codec.content_type for codec in _codecs.values() if able(codec)})


def _media_type(header: str) -> str:
    """'Text/CSV; charset=utf-8' -> 'text/csv'."""
    return header.partition(";")[0].strip().lower()


def _parse_accept(accept: str) -> dict[str, tuple[float, int]]:
    """Each media range of the header with its q and its position; the first of duplicates."""
    ranges: dict[str, tuple[float, int]] = {}
    for position, entry in enumerate(accept.split(",")):
        weight = _weight(entry)
        if weight is not None:
            ranges.setdefault(_media_type(entry), (weight, position))
    return ranges


def _weight(entry: str) -> float | None:
    """The q of one entry of an Accept header, 1 if it has none; None if it is malformed."""
    for parameter in entry.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            value = value.strip()
            return float(value) if _WEIGHT.fullmatch(value) else None
    return 1.0


def _preference(content_type: str, ranges: dict[str, tuple[float, int]]) -> tuple[float, int, int]:
    """How much the client likes `content_type`, to compare: (q, specificity, -position)."""
    major = content_type.partition("/")[0]
    for specificity, media_range in ((2, content_type), (1, f"{major}/*"), (0, "*/*")):
        if media_range in ranges:
            weight, position = ranges[media_range]
            return weight, specificity, -position
    return 0.0, 0, 0
