"""What the C heap holds, and giving back to the system what unloaded models held.

Knows the C library and nothing of models.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable


def _find_malloc_trim() -> Callable[[int], int] | None:
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):  # musl and macOS have none.
        return None
    trim.argtypes = [ctypes.c_size_t]
    trim.restype = ctypes.c_int
    return trim


_malloc_trim = _find_malloc_trim()


def trim_memory() -> None:
    """Return the heap's free pages to the system, where the C library can; else do nothing."""
    if _malloc_trim is not None:
        _malloc_trim(0)


class _Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd",
            "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


def _find_mallinfo() -> Callable[[], _Mallinfo2] | None:
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError):  # glibc before 2.33, and other C libraries.
        return None
    mallinfo.restype = _Mallinfo2
    return mallinfo


_mallinfo = _find_mallinfo()


def heap_size() -> int:
    """Bytes that are allocated on the C heap, all arenas together; 0 where that is not told."""
    if _mallinfo is None:
        return 0
    info = _mallinfo()
    return int(info.uordblks + info.hblkhd)
