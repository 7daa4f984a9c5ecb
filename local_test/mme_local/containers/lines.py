"""What a container writes, cut into lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_LONGEST: Final = 256 << 10
"""Bytes of one event of CloudWatch Logs; what is longer comes in pieces."""


class Lines:
    """Takes pieces of output as they come, and hands on each line without its end.

    Args:
        write: called with each line.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._rest = b""

    def feed(self, piece: bytes) -> None:
        """Take what came."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._put(line)
        while len(self._rest) >= _LONGEST:
            self._put(self._rest[:_LONGEST])
            self._rest = self._rest[_LONGEST:]

    def close(self) -> None:
        """Hand on what came after the last line's end."""
        if self._rest:
            self._put(self._rest)
            self._rest = b""

    def _put(self, line: bytes) -> None:
        self._write(line.removesuffix(b"\r").decode(errors="replace"))
