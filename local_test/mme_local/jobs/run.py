"""One training job, from its place in the queue to its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TypeVar

from mme_local.containers import images
from mme_local.containers.hosts import Hosts
from mme_local.control.records import TrainingJob
from mme_local.errors import LocalError
from mme_local.jobs import artifacts, channels, course, layout, request, source
from mme_local.jobs.checkpoints import Checkpoints
from mme_local.jobs.course import Course
from mme_local.jobs.errors import StoppedError
from mme_local.jobs.layout import Layout
from mme_local.jobs.metrics import Metrics
from mme_local.jobs.outcome import failure_reason
from mme_local.jobs.request import Plan
from mme_local.jobs.s3 import Store
from mme_local.jobs.surroundings import Surroundings
from mme_local.jobs.training import Ended, Training, cancel

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


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
        self._store = Store(around.clients.assuming(job.request["RoleArn"]), self._stop)

    def stop(self) -> None:
        """Ask for the end; nothing happens when it has come, or was asked for before."""
        # "Stopping" is what the API has said already; what has ended is neither.
        if self.job.status in ("InProgress", "Stopping") and not self._stopping.is_set():
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
        """Do all that is to be done; return the end, and the reason for a failure."""
        plan = request.plan(self.job.name, self.job.request)
        built_in = plan.metric_definitions is None and images.is_ours(
            plan.image, self._around.image
        )
        self.metrics = Metrics(None if built_in else plan.metric_definitions or ())
        slots = self._around.slots.take(plan.instance_count)
        await self._unless_stopped(stack.enter_async_context(slots))
        clean = partial(shutil.rmtree, self._root, ignore_errors=True)
        stack.push_async_callback(self._around.in_thread, clean)
        self._move(course.STARTING, course.PREPARING)
        hosts = await self._around.runtime.hosts(self.job.name.lower(), plan.instance_count)
        stack.push_async_callback(hosts.close)
        layouts = [Layout(self._root / f"algo-{index + 1}") for index in range(plan.instance_count)]
        checkpoints = self._checkpoints(plan, layouts)
        self.job.started = time.time()
        self._move(course.DOWNLOADING, course.DOWNLOADING_DATA)
        plan = await self._around.in_thread(self._prepare, plan, hosts, layouts, checkpoints)
        self._move(course.TRAINING, course.DOWNLOADING_IMAGE)
        training = Training(self.job, plan, hosts, layouts, self._around, self.metrics, checkpoints)
        ended = await training.run(self._stopping, self._started, self._course.stopping)
        return await self._finish(plan, layouts, checkpoints, ended)

    def _prepare(
        self, plan: Plan, hosts: Hosts, layouts: list[Layout], checkpoints: Checkpoints | None
    ) -> Plan:
        """Lay out the hosts' trees and fill them from S3."""
        if self._around.in_docker:
            plan = source.bring(plan, layouts, self._store)
        for index, tree in enumerate(layouts):
            ml = layout.ML if self._around.in_docker else str(tree.root)
            layout.write(tree, plan, hosts, index, ml)
            for channel in plan.channels:
                channels.download(
                    channel,
                    tree.channel(channel.name),
                    index,
                    len(layouts),
                    self._store,
                    role=plan.role,
                    region=self._around.clients.region,
                )
        if checkpoints:
            checkpoints.restore()
        return plan

    async def _finish(
        self,
        plan: Plan,
        layouts: Sequence[Layout],
        checkpoints: Checkpoints | None,
        ended: Ended,
    ) -> tuple[str, str | None]:
        """Upload what there is, and say how it ended."""
        stopped = ended.overrun or self._stopping.is_set()
        reason = None if stopped else failure_reason(ended.statuses, layouts)
        models = [tree.model for tree in layouts]
        outputs = [tree.output_data for tree in layouts]
        if reason is None:
            self._course.move(course.UPLOADING, course.UPLOADING_MODEL)
        # Of a job that has failed the reason counts, and not what becomes of its files.
        with contextlib.suppress(*([LocalError] if reason else [])):
            if checkpoints:
                await self._around.in_thread(checkpoints.save)
            await self._upload(artifacts.upload_output, plan, outputs)
        if reason:
            return "Failed", reason
        if not stopped or await self._around.in_thread(artifacts.is_filled, models):
            self.job.artifacts = await self._upload(artifacts.upload_model, plan, models)
        if ended.overrun:
            return "MaxRuntimeExceeded", None
        return "Stopped" if stopped else "Completed", None

    async def _upload(
        self, upload: Callable[..., _T], plan: Plan, directories: Sequence[Path]
    ) -> _T:
        return await self._around.in_thread(upload, plan, directories, self._root, self._store)

    def _checkpoints(self, plan: Plan, layouts: Sequence[Layout]) -> Checkpoints | None:
        if plan.checkpoints is None:
            return None
        directories = [tree.at(plan.checkpoint_path) for tree in layouts]
        return Checkpoints(plan.checkpoints, directories, self._store)

    def _started(self) -> None:
        if not self._stopping.is_set():
            self._course.move(course.TRAINING, course.IN_PROGRESS)

    def _move(self, secondary: str, message: str) -> None:
        if self._stopping.is_set():
            raise StoppedError
        self._course.move(secondary, message)

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
            await cancel([task, stopping])


def _as_reason(text: str) -> str:
    return text if text.startswith(("ClientError:", "AlgorithmError:")) else f"ClientError: {text}"
