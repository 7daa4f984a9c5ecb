"""Large bodies in small steps, so that one big request does not hold up the small ones.

Requests of other models are answered by other threads of the same process. A C call keeps the
interpreter's lock until it returns, so none may work on a whole large body, and between two steps
`time.sleep(0)` hands the lock to whoever waits for it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import numpy as np
import orjson
from numpy.typing import NDArray

# Each takes about a third of a millisecond. Pieces of twice the size are slower in all: a JSON
# piece then holds enough lists to start Python's garbage collector, which may stop for long.
CHUNK_BYTES = 32 * 1024
CHUNK_VALUES = 8 * 1024


def pieces(body: memoryview, mark: bytes) -> Iterable[bytes]:
    """`body` in pieces of about 32 kB, each but the last ending with `mark`."""
    if len(body) <= CHUNK_BYTES:
        return (bytes(body),)
    return _pieces(body, mark)


def _pieces(body: memoryview, mark: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(body):
        stop = _cut(body, start, mark)
        yield bytes(body[start:stop])
        start = stop
        time.sleep(0)


def _cut(body: memoryview, start: int, mark: bytes) -> int:
    """Where the piece that begins at `start` ends."""
    size = CHUNK_BYTES
    while start + size < len(body):
        found = bytes(body[start : start + size]).rfind(mark)
        if found >= 0:
            return start + found + len(mark)
        size *= 2
    return len(body)


def batches(count: int, width: int) -> Iterator[slice]:
    """Slices that cover `count` rows of `width` values, each of about `CHUNK_VALUES` values."""
    step = max(1, CHUNK_VALUES // max(1, width))
    for start in range(0, count, step):
        if start:
            time.sleep(0)
        yield slice(start, start + step)


def number_texts(array: NDArray[np.float32]) -> Iterator[tuple[bytes, NDArray[np.float32]]]:
    """JSON lists of a few rows each, with the rows that they show.

    Args:
        array: C-contiguous, (rows,) or (rows, columns). Each number is written with the fewest
            digits that give the same float32 back; NaN and infinity are null.
    """
    width = array.shape[1] if array.ndim == 2 else 1
    for batch in batches(len(array), width):
        rows = array[batch]
        yield orjson.dumps(rows, option=orjson.OPT_SERIALIZE_NUMPY), rows
