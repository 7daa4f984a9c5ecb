"""Segments on a Ray cluster: a task for each, which needs no files but its own.

A segment's rows and the extra files travel to the task, and its archive travels back, so that the
machines of the cluster need no common file system; they need this package. Rows are handed over a
few segments for each CPU at a time, so that neither the driver nor Ray's store holds the table.
"""

from __future__ import annotations

import logging
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from mme_training.errors import AlgorithmError, UserError
from mme_training.many.layout import archive_file, evaluation_file, scratch_directory
from mme_training.many.segments import rows_of
from mme_training.many.work import Plan, Record, Segment

RETRIES: Final = 2
_AHEAD: Final = 2  # tasks submitted for each that can run
_LISTEN: Final = 0.5  # seconds after which new CPUs of the cluster are noticed


@dataclass(frozen=True, slots=True)
class Result:
    """What a task sends back: a record, and the files that go with it if there is a model."""

    record: Record
    archive: bytes | None = None
    evaluation: bytes | None = None


class RayEngine:
    """Trains in tasks of Ray, each on one CPU."""

    def __init__(
        self,
        address: str | None = None,
        workers: int | None = None,
        retries: int = RETRIES,
        **init: Any,
    ) -> None:
        """Choose the cluster; a Ray that this process is connected to already is used as it is.

        Args:
            address: as ``ray.init`` takes it, such as ``auto``; default: a Ray on this machine.
            workers: tasks at once; default: as many as the cluster has CPUs.
            retries: how often a segment is tried again whose process or machine was lost.
            init: more for ``ray.init``.

        Raises:
            UserError: Ray is not installed, `workers` is below 1, or `retries` below 0.
        """
        try:
            import ray
        except ImportError:
            raise UserError("Ray is not installed: pip install 'xgboost-mme[ray]'") from None
        if (workers is not None and workers < 1) or retries < 0:
            raise UserError("there must be 1 worker or more, and 0 retries or more")
        self._ray: Any = ray
        self._address = address
        self._workers = workers
        self._retries = retries
        self._init = init

    def run(
        self,
        plan: Plan,
        segments: Sequence[Segment],
        fingerprints: Mapping[str, str],
        on_done: Callable[[Record], None],
    ) -> None:
        """Train each of `segments`; see `mme_training.many.work.Engine`.

        Raises:
            AlgorithmError: there is no cluster at the address.
        """
        with self._connected():
            remote = self._ray.remote(num_cpus=1, max_retries=0)(train_remotely)
            extra = self._ray.put({n: file.read_bytes() for n, file in plan.extra.items()})
            waiting = deque((segment, 1) for segment in segments)
            tasks: dict[Any, tuple[Segment, int]] = {}
            try:
                while waiting or tasks:
                    free = self._at_once() - len(tasks)
                    for _ in range(min(free, len(waiting))):
                        segment, attempt = waiting.popleft()
                        task = remote.remote(
                            replace(plan, extra={}),
                            segment,
                            fingerprints[segment.name],
                            _packed(segment),
                            extra,
                        )
                        tasks[task] = (segment, attempt)
                    ready, _ = self._ray.wait(list(tasks), timeout=_LISTEN)
                    for task in ready:
                        segment, attempt = tasks.pop(task)
                        record = self._received(plan, segment, fingerprints, task)
                        if record is None and attempt <= self._retries:
                            waiting.append((segment, attempt + 1))
                            continue
                        record = record or _lost(segment, fingerprints)
                        on_done(replace(record, attempts=attempt))
            finally:
                for task in tasks:
                    self._ray.cancel(task, force=True)

    @contextmanager
    def _connected(self) -> Iterator[None]:
        if self._ray.is_initialized():
            yield
            return
        try:
            self._ray.init(address=self._address, log_to_driver=False, **self._init)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise AlgorithmError(f"Ray cannot be reached or started: {error}") from error
        try:
            yield
        finally:
            self._ray.shutdown()

    def _at_once(self) -> int:
        cpus = int(self._ray.cluster_resources().get("CPU", 1))
        return _AHEAD * max(min(self._workers or cpus, cpus), 1)

    def _received(
        self, plan: Plan, segment: Segment, fingerprints: Mapping[str, str], task: Any
    ) -> Record | None:
        """The record of a task, with its files written; None if its process was lost."""
        try:
            result: Result = self._ray.get(task)
        except self._ray.exceptions.RayTaskError as error:
            return Record(segment.name, fingerprints[segment.name], error=str(error.cause or error))
        except self._ray.exceptions.RayError:
            return None
        if result.archive is not None and result.evaluation is not None:
            fingerprint = fingerprints[segment.name]
            _write(plan, evaluation_file(plan.out, fingerprint), result.evaluation)
            _write(plan, archive_file(plan.out, segment.name), result.archive)
        return result.record


def train_remotely(
    plan: Plan, segment: Segment, fingerprint: str, rows: Any, extra: Mapping[str, bytes]
) -> Result:
    """Train one segment in a directory of its own; `rows` is an Arrow file, `extra` by name."""
    from mme_training.many.task import train_segment

    logging.getLogger("mme_training.hyperparameters").setLevel(logging.ERROR)  # said by the driver

    with tempfile.TemporaryDirectory(prefix="mme-") as name:
        directory = Path(name)
        file = directory / "rows.arrow"
        file.write_bytes(rows)
        files: dict[str, Path] = {}
        for number, (member, content) in enumerate(extra.items()):
            files[member] = directory / f"extra-{number}"
            files[member].write_bytes(content)
        here = replace(plan, out=directory / "out", extra=files)
        record = train_segment(here, replace(segment, file=file, start=0), fingerprint)
        if record.path is None:
            return Result(record)
        return Result(
            record,
            (here.out / record.path).read_bytes(),
            evaluation_file(here.out, fingerprint).read_bytes(),
        )


def _packed(segment: Segment) -> bytes:
    sink = pa.BufferOutputStream()
    rows = rows_of(segment)
    with pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_table(rows)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _write(plan: Plan, file: Path, content: bytes) -> None:
    partial = scratch_directory(plan.out) / file.name
    partial.write_bytes(content)
    partial.replace(file)


def _lost(segment: Segment, fingerprints: Mapping[str, str]) -> Record:
    return Record(
        segment.name,
        fingerprints[segment.name],
        error="the process or machine that trained it was lost each time",
    )
