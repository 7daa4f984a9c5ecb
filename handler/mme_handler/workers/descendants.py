"""Ends what a model's code has started."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path


def kill_descendants(pid: int) -> None:
    """Send SIGKILL to every process that descends from `pid`, whatever session it made its own."""
    for child in _children(pid):
        kill_descendants(child)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
        return [int(child) for text in lists for child in text.split()]
    return []
