"""Starts this project's server, as its command line does."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.server import HOST, Server, free_port, running


@contextmanager
def ours(scratch: Path) -> Iterator[Server]:
    """Run the ``mme serve`` of this Python environment; it inherits any other settings."""
    folder = scratch / "ours"
    folder.mkdir(exist_ok=True)
    port = free_port()
    command = [str(Path(sys.executable).parent / "mme"), "serve", "--port", str(port)]
    env = {
        **os.environ,
        "MME_ADDRESS": HOST,
        "MME_METRICS_PORT": str(free_port()),
        "TMPDIR": str(folder),
    }
    with running("ours", command, env, port, folder) as server:
        yield server
