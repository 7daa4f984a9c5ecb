"""One training job, from its place in the queue to its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from mme_local.aws.clients import Clients
from mme_local.containers import images, instance_types
from mme_local.containers.hosts import Hosts, JobRuntime
from mme_local.containers.spec import Container, ContainerSpec
from mme_local.control.records import TrainingJob
from mme_local.errors import LocalError
from mme_local.events import Events
from mme_local.jobs import artifacts, channels, course, layout, request, source, telemetry
from mme_local.jobs.checkpoints import Checkpoints
from mme_local.jobs.course import Course
from mme_local.jobs.environment import environment
from mme_local.jobs.errors import StoppedError
from mme_local.jobs.layout import Layout
from mme_local.jobs.metrics import Metrics, escape
from mme_local.jobs.outcome import failure_reason
from mme_local.jobs.s3 import Store
from mme_local.jobs.slots import Slots

GRACE: Final = 120.0
"""Seconds between SIGTERM and SIGKILL, as StopTrainingJob has them."""
_ECHO: Final = 30.0
"""Seconds for the other hosts to end, once one has failed."""
_WATCH: Final = 5.0
"""Seconds between two looks at what the hosts take, and two copies of checkpoints."""

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Surroundings:
    """What all jobs share."""

    runtime: JobRuntime
    clients: Clients
    image: str
    """`LocalSettings.image`."""
    directory: Path
    """Below it, the files of each job."""
    events: Events
    log_streams: telemetry.LogStreams
    metrics: telemetry.MetricSink
    threads: Executor
    slots: Slots


@dataclass
class _Running:
    """The containers of a job, in the order of its hosts."""

    containers: list[tuple[Container, ContainerSpec]] = field(default_factory=list)

    async def stop(self, within: float) -> None:
        await asyncio.gather(*(container.stop(within) for container, _ in self.containers))

    async def remove(self) -> None:
        await asyncio.gather(*(container.remove() for container, _ in self.containers))


class JobRun:
    """Runs one job, and moves its record.

    Args:
        job: the record.
        around: what all jobs share.
    """

    def __init__(self, job: TrainingJob, around: Surroundings) -> None:
        self.job = job
        self.metrics = Metrics(())
        self._around = around
        self._course = Course(job, around.events)
        self._root = around.directory / job.name
        self._stop = threading.Event()
        self._stopping = asyncio.Event()
        self._store = Store(around.clients, self._stop)
        self._streams: list[telemetry.LogStream] = []

    def stop(self) -> None:
        """Ask for the end; nothing happens when it has come, or was asked for before."""
        if self.job.status == "InProgress":
            self._course.stopping()
            self._stop.set()
            self._stopping.set()

    async def run(self) -> None:
        """Run to the end; the record says how that was."""
        end, reason = "Failed", None
        try:
            self._course.move(course.STARTING, course.LAUNCHING)
            async with AsyncExitStack() as stack:
                end, reason = await self._work(stack)
        except StoppedError:
            end, reason = "Stopped", None
        except LocalError as error:
            end, reason = "Failed", _as_reason(str(error))
        except asyncio.CancelledError:
            end, reason = "Failed", "InternalServerError: the local SageMaker was stopped"
            raise
        except Exception as error:
            _log.exception("training job %s", self.job.name)
            end, reason = "Failed", f"InternalServerError: {type(error).__name__}: {error}"
        finally:
            self.job.metrics = self.metrics.final()
            self._course.end(end, reason)

    async def _work(self, stack: AsyncExitStack) -> tuple[str, str | None]:
        plan = request.plan(self.job.name, self.job.request)
        own = plan.metric_definitions is None and images.is_ours(plan.image, self._around.image)
        self.metrics = Metrics(None if own else plan.metric_definitions or ())
        slots = self._around.slots.take(plan.instance_count)
        await self._unless_stopped(stack.enter_async_context(slots))
        stack.push_async_callback(self._in_thread, partial(shutil.rmtree, self._root, True))
        await self._in_thread(shutil.rmtree, self._root, True)  # Of a run that was killed.
        self._move(course.STARTING, course.PREPARING)
        hosts = await self._around.runtime.hosts(self.job.name.lower(), plan.instance_count)
        stack.push_async_callback(hosts.close)
        layouts = [
            Layout(self._root / f"algo-{number}") for number in range(1, plan.instance_count + 1)
        ]
        checkpoints = self._checkpoints(plan, layouts)
        self.job.started = time.time()
        self._move(course.DOWNLOADING, course.DOWNLOADING_DATA)
        plan = await self._in_thread(self._prepare, plan, hosts, layouts, checkpoints)
        self._move(course.TRAINING, course.DOWNLOADING_IMAGE)
        statuses, overrun = await self._train(plan, hosts, layouts, checkpoints)
        return await self._finish(plan, layouts, checkpoints, statuses, overrun)

    def _prepare(
        self,
        plan: request.Plan,
        hosts: Hosts,
        layouts: list[Layout],
        checkpoints: Checkpoints | None,
    ) -> request.Plan:
        """Lay out the hosts' trees and fill them from S3."""
        if self._in_docker:
            plan = source.bring(plan, layouts, self._store)
        for number, tree in enumerate(layouts):
            layout.write(tree, plan, hosts, number, self._ml(tree))
            for channel in plan.channels:
                channels.download(
                    channel,
                    tree.channel(channel.name),
                    number,
                    len(layouts),
                    self._store,
                    role=plan.role,
                    region=self._around.clients.region,
                )
        if checkpoints:
            checkpoints.restore()
        return plan

    async def _train(
        self,
        plan: request.Plan,
        hosts: Hosts,
        layouts: list[Layout],
        checkpoints: Checkpoints | None,
    ) -> tuple[list[int], bool]:
        """Run the containers; return their exit statuses, and whether they took too long."""
        running = _Running()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._close_streams)
            stack.push_async_callback(running.remove)
            for number, (place, tree) in enumerate(zip(hosts.places, layouts, strict=True), 1):
                spec = self._spec(plan, number, tree)
                container = await self._around.runtime.start(spec, place)
                running.containers.append((container, spec))
            self._move(course.TRAINING, course.IN_PROGRESS)
            watching = [
                asyncio.create_task(
                    telemetry.watch(self.job.name, running.containers, self._around.metrics, _WATCH)
                ),
                asyncio.create_task(self._keep_saving(checkpoints)),
            ]
            stack.push_async_callback(_cancel, watching)
            overrun = await self._until_end(running, plan.max_runtime)
            return [await container.wait() for container, _ in running.containers], overrun

    async def _until_end(self, running: _Running, seconds: float) -> bool:
        """Wait for the end of all hosts, or bring it about; return whether they took too long."""
        ends = [asyncio.create_task(container.wait()) for container, _ in running.containers]
        stopping = asyncio.create_task(self._stopping.wait())
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            while pending := [end for end in ends if not end.done()]:
                failed = any(end.result() for end in ends if end.done())
                left = max(deadline - asyncio.get_running_loop().time(), 0)
                await asyncio.wait(
                    [*pending, stopping],
                    timeout=min(left, _ECHO) if failed else left,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if stopping.done():
                    await running.stop(GRACE)
                elif asyncio.get_running_loop().time() >= deadline:
                    self._course.stopping()
                    await running.stop(GRACE)
                    return True
                elif failed and not any(end.done() for end in pending):
                    await running.stop(GRACE)
            return False
        finally:
            await _cancel([stopping, *ends])

    async def _finish(
        self,
        plan: request.Plan,
        layouts: list[Layout],
        checkpoints: Checkpoints | None,
        statuses: list[int],
        overrun: bool,
    ) -> tuple[str, str | None]:
        """Upload what there is, and say how it ended."""
        models = [tree.model for tree in layouts]
        stopped = overrun or self._stopping.is_set()
        reason = None if stopped else failure_reason(statuses, layouts)
        outputs = [tree.output_data for tree in layouts]
        # Of a job that has failed the reason counts, and not what becomes of its files.
        with contextlib.suppress(*([LocalError] if reason else [])):
            if checkpoints:
                await self._in_thread(checkpoints.save)
            await self._in_thread(artifacts.upload_output, plan, outputs, self._root, self._store)
        if reason is None:
            self._course.move(course.UPLOADING, course.UPLOADING_MODEL)
            if not stopped or await self._in_thread(artifacts.is_filled, models):
                self.job.artifacts = await self._in_thread(
                    artifacts.upload_model, plan, models, self._root, self._store
                )
        if reason:
            return "Failed", reason
        return ("MaxRuntimeExceeded" if overrun else "Stopped" if stopped else "Completed"), None

    def _spec(self, plan: request.Plan, number: int, tree: Layout) -> ContainerSpec:
        instance = instance_types.find(plan.instance_type)
        stream = self._around.log_streams(
            telemetry.LOG_GROUP, f"{self.job.name}/algo-{number}-{int(time.time())}"
        )
        self._streams.append(stream)
        loop = asyncio.get_running_loop()

        def write_line(line: str) -> None:
            loop.call_soon_threadsafe(self._take, stream, line)

        return ContainerSpec(
            name=f"{self.job.name.lower()}-algo-{number}",
            image=plan.image,
            command="train",
            environment={
                **environment(self.job, self._around.clients, self._in_docker),
                **plan.environment,
            },
            ml=tree.root,
            memory=instance.memory,
            cpus=instance.vcpus,
            write_line=write_line,
        )

    def _take(self, stream: telemetry.LogStream, line: str) -> None:
        """A line that a container has written: for the log, and perhaps with metrics."""
        escaped = escape(line)
        stream.write(escaped)
        for name, value in self.metrics.read(escaped).items():
            self._around.metrics.put(
                telemetry.NAMESPACE, name, {"TrainingJobName": self.job.name}, value, "None"
            )

    @property
    def _in_docker(self) -> bool:
        return self._around.runtime.name == "docker"

    def _checkpoints(self, plan: request.Plan, layouts: list[Layout]) -> Checkpoints | None:
        if plan.checkpoints is None:
            return None
        directories = [tree.at(plan.checkpoint_path) for tree in layouts]
        return Checkpoints(plan.checkpoints, directories, self._store)

    def _ml(self, tree: Layout) -> str:
        return layout.ML if self._in_docker else str(tree.root)

    def _move(self, secondary: str, message: str) -> None:
        if self._stopping.is_set():
            raise StoppedError
        self._course.move(secondary, message)

    async def _close_streams(self) -> None:
        await asyncio.gather(*(stream.close() for stream in self._streams))

    async def _keep_saving(self, checkpoints: Checkpoints | None) -> None:
        while checkpoints:
            await asyncio.sleep(_WATCH)
            await self._in_thread(checkpoints.save)

    async def _unless_stopped(self, work: Awaitable[_T]) -> _T:
        """Its result, unless the job is stopped before."""
        task = asyncio.ensure_future(work)
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise StoppedError
            return task.result()
        finally:
            await _cancel([task, stopping])

    async def _in_thread(self, work: Callable[..., _T], *arguments: Any) -> _T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._around.threads, work, *arguments)


async def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task


def _as_reason(text: str) -> str:
    return text if text.startswith(("ClientError:", "AlgorithmError:")) else f"ClientError: {text}"
