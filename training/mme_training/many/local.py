"""Segments on this machine: a process for each core, each with one thread.

A process that dies costs the segment it was training one attempt, and no other anything.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from typing import Any, Final, cast

from mme_training.errors import AlgorithmError, UserError
from mme_training.many.work import Plan, Record, Segment

RETRIES: Final = 2
_AHEAD: Final = 2  # segments that a process has: one under way, and the next, so as not to wait
_LAST_BREATH: Final = 5.0  # seconds
_ONE_THREAD: Final = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection[Any, Any]
    ready: bool = False
    segments: deque[Segment] = field(default_factory=deque)
    """What it has been given; it trains the first."""

    def end(self) -> None:
        """Kill it: what is half done is in the scratch directory, and nowhere else."""
        self.process.kill()  # before it hears that nobody listens any more
        self.process.wait()
        self.connection.close()


class LocalEngine:
    """Trains in processes of its own."""

    def __init__(self, workers: int | None = None, retries: int = RETRIES) -> None:
        """Take `workers` processes, default one for each CPU that this one may use.

        Raises:
            UserError: `workers` is below 1, or `retries` below 0.
        """
        self._count = len(os.sched_getaffinity(0)) if workers is None else workers
        self._retries = retries
        if self._count < 1 or retries < 0:
            raise UserError("there must be 1 worker or more, and 0 retries or more")

    def run(
        self,
        plan: Plan,
        segments: Sequence[Segment],
        fingerprints: Mapping[str, str],
        on_done: Callable[[Record], None],
    ) -> None:
        """Train each of `segments`; see `mme_training.many.work.Engine`.

        Raises:
            AlgorithmError: processes end before they have begun; their reason is on stderr.
        """
        _Run(plan, segments, fingerprints, on_done, self._retries).go(self._count)


class _Run:
    def __init__(
        self,
        plan: Plan,
        segments: Sequence[Segment],
        fingerprints: Mapping[str, str],
        on_done: Callable[[Record], None],
        retries: int,
    ) -> None:
        self._plan = plan
        self._waiting = deque(segments)
        self._left = len(segments)
        self._fingerprints = fingerprints
        self._on_done = on_done
        self._retries = retries
        self._deaths: dict[str, int] = {}
        self._unborn = 0
        self._workers: dict[Connection[Any, Any], _Worker] = {}

    def go(self, count: int) -> None:
        try:
            for _ in range(min(count, self._left)):
                self._start()
            while self._left:
                for heard in wait([*self._workers]):
                    self._hear(self._workers[cast("Connection[Any, Any]", heard)])
        finally:
            for worker in self._workers.values():
                worker.end()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "mme_training.many.worker", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, **_ONE_THREAD},
            )
        connection = Connection(ours.detach())
        worker = _Worker(process, connection)
        self._workers[connection] = worker
        try:
            connection.send(os.getpid())
            connection.send(self._plan)
        except OSError:
            self._bury(worker)

    def _hear(self, worker: _Worker) -> None:
        try:
            record: Record | None = worker.connection.recv()
        except (EOFError, OSError):
            self._bury(worker)
            return
        if record is None:
            worker.ready = True
            self._unborn = 0
        else:
            worker.segments.popleft()
            self._done(replace(record, attempts=self._deaths.get(record.segment, 0) + 1))
        self._feed(worker)

    def _feed(self, worker: _Worker) -> None:
        while self._waiting and len(worker.segments) < _AHEAD:
            segment = self._waiting.popleft()
            worker.segments.append(segment)
            try:
                worker.connection.send((segment, self._fingerprints[segment.name]))
            except OSError:  # It has died, and is buried when that is heard.
                return

    def _bury(self, worker: _Worker) -> None:
        del self._workers[worker.connection]
        with suppress(subprocess.TimeoutExpired):  # It ends by itself: its own status is told.
            worker.process.wait(_LAST_BREATH)
        worker.end()
        status = worker.process.returncode
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        if worker.segments:
            segment = worker.segments.popleft()
            self._waiting.extendleft(reversed(worker.segments))
            deaths = self._deaths[segment.name] = self._deaths.get(segment.name, 0) + 1
            if deaths <= self._retries:
                self._waiting.append(segment)
            else:
                error = f"the process that trained it {how}, {deaths} times"
                print_ = self._fingerprints[segment.name]
                self._done(Record(segment.name, print_, attempts=deaths, error=error))
        elif not worker.ready:
            self._unborn += 1
            if self._unborn > self._retries:
                raise AlgorithmError(f"no process for training can be started: the last {how}")
        if self._waiting:
            self._start()

    def _done(self, record: Record) -> None:
        self._left -= 1
        self._on_done(record)
