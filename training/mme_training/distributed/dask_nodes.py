"""Dask's scheduler and worker with nothing that a training does not need."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import distributed
from distributed.diagnostics.plugin import SchedulerPlugin

CONFIG: Final = {
    # A host that is gone without a word, its machine dead or its cable cut, is given up by then.
    "distributed.comm.timeouts.tcp": "20s",
    "distributed.comm.timeouts.connect": "10s",
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.worker.profile.enabled": False,
}


def silence() -> None:
    """Keep Dask from logging: what goes wrong is told once, by this package."""
    for name in ("distributed", "distributed.client", "distributed.worker", "distributed.core"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


@contextlib.asynccontextmanager
async def opened(node: Any) -> AsyncIterator[Any]:
    """The scheduler or client `node` while it is there, whatever comes of closing it.

    Dask fails to close when a connection breaks at that moment (seen with 2026.8: `RuntimeError`,
    "Cannot change state of expiring Timeout"). By then all has been decided and told, and it must
    not cost the model, or the reason why there is none.
    """
    await node.__aenter__()
    try:
        yield node
    finally:
        with contextlib.suppress(Exception):
            await node.__aexit__(*sys.exc_info())


class Scheduler(distributed.Scheduler):
    """Without an HTTP server."""

    def start_http_server(self, *arguments: Any, **options: Any) -> None:
        """Start none."""


class Worker(distributed.Worker):
    """Without an HTTP server; says when it has lost the scheduler."""

    on_lost: Callable[[], None] | None = None

    def start_http_server(self, *arguments: Any, **options: Any) -> None:
        """Start none."""

    async def close(self, *arguments: Any, **options: Any) -> str | None:  # type: ignore[override]
        """Tell first: the rest would wait for a training that no longer ends."""
        if self.on_lost:
            self.on_lost()
        return await super().close(*arguments, **options)


class Departures(SchedulerPlugin):
    """Notes which workers have left, by name and in their order."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._present: dict[str, str] = {}

    def remove_worker(self, scheduler: distributed.Scheduler, worker: str, **options: Any) -> None:
        """Note the name of `worker`, an address."""
        self.names.append(self._present.pop(worker, worker))

    def add_worker(self, scheduler: distributed.Scheduler, worker: str) -> None:
        """Remember the name behind an address."""
        self._present[worker] = str(scheduler.workers[worker].name)
