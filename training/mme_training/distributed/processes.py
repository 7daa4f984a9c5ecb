"""The workers of a host, as their parent sees them."""

from __future__ import annotations

import contextlib
import multiprocessing
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import cast

from mme_training.distributed.job import Cluster, Job
from mme_training.distributed.outcome import Outcome
from mme_training.distributed.worker import STOP, run_worker


class Processes:
    """Running workers, each with a pipe to it."""

    def __init__(
        self, workers: list[tuple[SpawnProcess, Connection]], stop: threading.Event
    ) -> None:
        self._workers = workers
        self._pipes = [pipe for _, pipe in workers]
        self._stop = stop
        self._told = False

    def stopping(self) -> bool:
        """Whether training is to end with the round, which the workers are then told."""
        if self._stop.is_set() and not self._told:
            self._told = True
            for pipe in self._pipes:
                with contextlib.suppress(OSError):
                    pipe.send(STOP)
        return self._told

    def outcome(self, seconds: float) -> Outcome | None:
        """What a worker says of the end, if one does within `seconds`."""
        for ready in wait(self._pipes, seconds):
            pipe = cast(Connection, ready)
            try:
                return cast(Outcome, pipe.recv())
            except (EOFError, OSError):
                self._pipes.remove(pipe)  # Of a worker that has ended.
        return None

    def any_left(self) -> bool:
        """Whether a worker is still there."""
        return any(process.is_alive() for process, _ in self._workers)

    def end(self) -> str | None:
        """How a worker ended, if one did."""
        for process, _ in self._workers:
            code = process.exitcode
            if code is not None:
                return f" (signal {-code})" if code < 0 else f" (exit status {code})"
        return None


@contextmanager
def started(cluster: Cluster, job: Job, stop: threading.Event) -> Iterator[Processes]:
    """The workers of this host, which are ended when the context is left."""
    # What forks from a process in which XGBoost has run may hang.
    context = multiprocessing.get_context("spawn")
    workers: list[tuple[SpawnProcess, Connection]] = []
    with tempfile.TemporaryDirectory(prefix="mme-workers-") as directory:
        try:
            for index in range(cluster.workers_per_host):
                here, there = context.Pipe()
                process = context.Process(
                    target=run_worker, args=(cluster, job, index, there, directory)
                )
                process.start()
                there.close()
                workers.append((process, here))
            yield Processes(workers, stop)
        finally:
            for process, pipe in workers:
                process.kill()
                process.join()
                pipe.close()
