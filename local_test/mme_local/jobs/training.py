"""The containers of one training job: started, watched, and ended together."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

from mme_local.containers import instance_types
from mme_local.containers.hosts import Hosts
from mme_local.containers.spec import Container, ContainerSpec
from mme_local.control.records import TrainingJob
from mme_local.jobs import telemetry
from mme_local.jobs.checkpoints import Checkpoints
from mme_local.jobs.environment import environment
from mme_local.jobs.layout import Layout
from mme_local.jobs.metrics import Metrics, escape
from mme_local.jobs.request import Plan
from mme_local.jobs.surroundings import Surroundings

GRACE: Final = 120.0
"""Seconds between SIGTERM and SIGKILL, as StopTrainingJob has them."""
_ECHO: Final = 30.0
"""Seconds for the other hosts to end, once one has failed."""
_WATCH: Final = 5.0
"""Seconds between two looks at what the hosts take, and two copies of checkpoints."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How the containers have ended."""

    statuses: tuple[int, ...]
    """Exit statuses by host; 0 of those that were ended because of another."""
    overrun: bool
    """Whether they were ended for running longer than MaxRuntimeInSeconds."""


class Training:
    """The hosts of one job.

    Args:
        job: its record.
        plan: what was asked for.
        hosts: names and places.
        layouts: their trees, laid out.
        around: what all jobs share.
        metrics: reads their lines.
        checkpoints: copied while they run, if there are any.
    """

    def __init__(
        self,
        job: TrainingJob,
        plan: Plan,
        hosts: Hosts,
        layouts: Sequence[Layout],
        around: Surroundings,
        metrics: Metrics,
        checkpoints: Checkpoints | None,
    ) -> None:
        self._job = job
        self._plan = plan
        self._hosts = hosts
        self._layouts = layouts
        self._around = around
        self._metrics = metrics
        self._checkpoints = checkpoints
        self._containers: list[tuple[Container, ContainerSpec]] = []
        self._streams: list[telemetry.LogStream] = []
        self._ended: set[int] = set()
        """Hosts that were ended here, and not by themselves."""

    async def run(
        self, stopping: asyncio.Event, started: Callable[[], None], late: Callable[[], None]
    ) -> Ended:
        """Run all of them to their ends; when this returns, readers find every line.

        Args:
            stopping: ends them when it is set.
            started: called when all have started.
            late: called when they are ended for running too long.

        Raises:
            LocalError: one cannot be started.
        """
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._close_streams)
            stack.push_async_callback(self._remove)
            for number, place in enumerate(self._hosts.places):
                spec = self._spec(number)
                container = await self._around.runtime.start(spec, place)
                self._containers.append((container, spec))
            started()
            watch = telemetry.watch(self._job.name, self._containers, self._around.metrics, _WATCH)
            background = [asyncio.create_task(each) for each in (watch, self._keep_saving())]
            stack.push_async_callback(cancel, background)
            overrun = await self._until_end(stopping, late)
            statuses = [await container.wait() for container, _ in self._containers]
            return Ended(
                tuple(
                    0 if index in self._ended else status for index, status in enumerate(statuses)
                ),
                overrun,
            )

    async def _until_end(self, stopping: asyncio.Event, late: Callable[[], None]) -> bool:
        """Wait for the end of all, or bring it about; return whether they took too long."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._plan.max_runtime
        ends = [asyncio.create_task(container.wait()) for container, _ in self._containers]
        stop = asyncio.create_task(stopping.wait())
        try:
            while pending := {end for end in ends if not end.done()}:
                failed = any(end.result() for end in ends if end.done())
                left = max(deadline - loop.time(), 0)
                ended, _ = await asyncio.wait(
                    {*pending, stop},
                    timeout=min(left, _ECHO) if failed else left,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if ended & pending:
                    continue
                if not ended and (not failed or loop.time() >= deadline):
                    late()
                    await self._stop()
                    return True
                # Somebody asks for it, or one has failed and others go on.
                self._ended |= {index for index, end in enumerate(ends) if not end.done()}
                await self._stop()
            return False
        finally:
            await cancel([stop, *ends])

    def _spec(self, index: int) -> ContainerSpec:
        number = index + 1
        instance = instance_types.find(self._plan.instance_type)
        own = environment(self._job, self._around.clients, self._around.in_docker)
        return ContainerSpec(
            name=f"{self._job.name.lower()}-algo-{number}",
            image=self._plan.image,
            command="train",
            environment={**own, **self._plan.environment},
            ml=self._layouts[index].root,
            memory=instance.memory,
            cpus=instance.vcpus,
            write_line=self._log(f"{self._job.name}/algo-{number}-{int(time.time())}"),
        )

    def _log(self, name: str) -> Callable[[str], None]:
        """What takes the lines of a host: for the log, and for the metrics in them."""
        stream = self._around.log_streams(telemetry.LOG_GROUP, name)
        self._streams.append(stream)
        loop = asyncio.get_running_loop()

        def take(line: str) -> None:
            escaped = escape(line)
            stream.write(escaped)
            for metric, value in self._metrics.read(escaped).items():
                self._around.metrics.put(
                    telemetry.NAMESPACE, metric, {"TrainingJobName": self._job.name}, value, "None"
                )

        def write_line(line: str) -> None:
            loop.call_soon_threadsafe(take, line)

        return write_line

    async def _keep_saving(self) -> None:
        while self._checkpoints:
            await asyncio.sleep(_WATCH)
            await self._around.in_thread(self._checkpoints.save)

    async def _stop(self) -> None:
        await asyncio.gather(*(container.stop(GRACE) for container, _ in self._containers))

    async def _remove(self) -> None:
        await asyncio.gather(*(container.remove() for container, _ in self._containers))

    async def _close_streams(self) -> None:
        await asyncio.gather(*(stream.close() for stream in self._streams))


async def cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks, and wait until they have ended."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task
