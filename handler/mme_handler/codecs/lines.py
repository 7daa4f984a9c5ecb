"""Bodies of lines, a few lines at a time."""

from __future__ import annotations

from collections.abc import Iterator

from mme_handler.codecs.chunks import pieces
from mme_handler.codecs.registry import Body
from mme_handler.errors import BadRequestError

_BOM = b"\xef\xbb\xbf"
_TAIL_BYTES = 4096


def line_pieces(body: Body) -> Iterator[tuple[int, bytes]]:
    """The lines of `body` in pieces of about 32 kB, each with the number of its first line.

    Lines are counted from 1. A byte order mark, blank lines at the end and the newline that ends a
    piece are left out; nothing else is.

    Raises:
        BadRequestError: all lines are blank.
    """
    number = 1
    for piece in pieces(_without_blank_end(memoryview(body)), b"\n"):
        lines = piece.removesuffix(b"\n")
        yield number, lines.removeprefix(_BOM) if number == 1 else lines
        number += piece.count(b"\n")


def blank_line(number: int) -> BadRequestError:
    """The error for a line with nothing on it that is followed by others."""
    return BadRequestError(f"line {number} is blank")


def not_utf8(lines: bytes, first: int, error: UnicodeDecodeError) -> BadRequestError:
    """The error for `lines`, the first of which is line `first`, that are not UTF-8."""
    line = first + lines.count(b"\n", 0, error.start)
    return BadRequestError(f"line {line}: the body is not valid UTF-8")


def _without_blank_end(view: memoryview) -> memoryview:
    end = len(view)
    while end:
        tail = bytes(view[max(0, end - _TAIL_BYTES) : end])
        kept = len(tail.rstrip())
        end -= len(tail) - kept
        if kept:
            return view[:end]
    raise BadRequestError("the body is empty; send at least one row")
