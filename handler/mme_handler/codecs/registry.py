"""Which codec reads a Content-Type, and which one answers an Accept header."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mme_handler.codecs.matrix import Matrix
from mme_handler.errors import BadRequestError, NotAcceptableError, UnsupportedContentTypeError

Body = bytes | bytearray | memoryview

DEFAULT_CONTENT_TYPE = "text/csv"
DEFAULT_ACCEPT = "application/json"

_WEIGHT = re.compile(r"0(?:\.\d{0,3})?|1(?:\.0{0,3})?")


class Codec(NamedTuple):
    """One content type: how to read it and how to write it; None where it cannot.

    `decode(body, features)` returns a float32 matrix (rows, features); `encode(predictions)` takes
    a C-contiguous float32 array (rows,) or (rows, outputs) with at least one row.
    """

    content_type: str
    decode: Callable[[Body, int], Matrix] | None = None
    encode: Callable[[NDArray[np.float32]], bytes] | None = None


class Encoded(NamedTuple):
    """A response body and the content type it is written in."""

    body: bytes
    content_type: str


_codecs: dict[str, Codec] = {}


def register(codec: Codec) -> None:
    """Add `codec` to the table, in place of an earlier one of the same content type."""
    _codecs[codec.content_type] = codec


def decode(body: Body, content_type: str | None, features: int) -> Matrix:
    """Read a request body.

    Args:
        body: the body as received.
        content_type: the header's value; parameters are ignored, for every type here is UTF-8.
            None or blank means text/csv.
        features: how many values the model takes in a row.

    Returns:
        A C-contiguous float32 array (rows, features) with at least one row; NaN is "missing".

    Raises:
        UnsupportedContentTypeError: no codec reads `content_type`.
        BadRequestError: the body is malformed, or a row has the wrong number of values.
    """
    codec = _codecs.get(content_type or DEFAULT_CONTENT_TYPE)
    if codec is None:  # not just the type's own name
        codec = _codecs.get(_media_type(content_type or "") or DEFAULT_CONTENT_TYPE)
    if codec is None or codec.decode is None:
        readable = ", ".join(c.content_type for c in _codecs.values() if c.decode)
        raise UnsupportedContentTypeError(
            f"content type {content_type!r:.80} is not supported; send one of: {readable}"
        )
    if not len(body):
        raise BadRequestError("the body is empty; send at least one row")
    return codec.decode(body, features)


def encode(
    predictions: NDArray[np.float32], accept: str | None, default: str = DEFAULT_ACCEPT
) -> Encoded:
    """Write predictions in the content type that the client likes best.

    Args:
        predictions: float32 array (rows,), or (rows, outputs).
        accept: the Accept header's value; None or blank means `default`.
        default: the content type to use when the client leaves the choice open.

    Raises:
        NotAcceptableError: no codec writes a type that the client accepts.
        ValueError: `predictions` has no dimension, or more than two.
    """
    if predictions.ndim not in (1, 2):
        raise ValueError(f"predictions have {predictions.ndim} dimensions, not 1 or 2")
    codec = _codecs.get(accept or default)
    if codec is None or codec.encode is None:  # a range, several types, or one that is unknown
        codec = _codecs[choose_accept(accept, default)]
    assert codec.encode is not None, "choose_accept names only what can be written"  # noqa: S101
    body = codec.encode(np.ascontiguousarray(predictions, dtype=np.float32))
    return Encoded(body, codec.content_type)


def choose_accept(accept: str | None, default: str = DEFAULT_ACCEPT) -> str:
    """The content type to answer with: the acceptable one of highest q.

    The most specific range that matches a type gives its q, as RFC 9110 has it. Equal q: the more
    specific range wins, then the earlier one, then `default`. An entry with a malformed q is
    ignored.

    Raises:
        NotAcceptableError: nothing that can be written is acceptable.
    """
    writable = [c.content_type for c in _codecs.values() if c.encode]
    if accept is None or accept in ("", "*/*"):
        accept = default
    if accept in writable:
        return accept
    if not accept.strip(" ,\t"):
        accept = default
    ranges = _parse_accept(accept)
    # `max` keeps the first of equals.
    writable.sort(key=lambda content_type: content_type != _media_type(default))
    best = max(writable, key=lambda content_type: _preference(content_type, ranges))
    if _preference(best, ranges)[0] <= 0:
        raise NotAcceptableError(
            f"cannot answer with {accept!r:.80}; accept one of: {', '.join(sorted(writable))}"
        )
    return best


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
