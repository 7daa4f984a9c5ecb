"""The parts of the local SageMaker, put together, and taken apart in the reverse order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Final

from starlette.applications import Starlette

from mme_local.app import make_app
from mme_local.aws.clients import Clients
from mme_local.aws.seeds import seed
from mme_local.aws.server import AwsServer
from mme_local.aws.state import State
from mme_local.containers import instance_types
from mme_local.containers.choose import choose
from mme_local.containers.hosts import JobRuntime
from mme_local.control.plane import ControlPlane
from mme_local.events import Events
from mme_local.iam.access import Access
from mme_local.jobs.runner import JobRunner
from mme_local.jobs.telemetry import LogStream as JobLog
from mme_local.page.logs import LogTail
from mme_local.page.routes import page_routes
from mme_local.platform.context import Context
from mme_local.platform.endpoint import EndpointManager
from mme_local.platform.invoke import Invoker
from mme_local.platform.scaling import Autoscaler
from mme_local.settings import LocalSettings, PlatformParameters
from mme_local.telemetry.log_streams import LogStream, LogStreams
from mme_local.telemetry.metrics import Metrics

_EVENTS_SHOWN: Final = 300
"""Of those that are kept: the state is asked for each second."""

_log = logging.getLogger(__name__)


def version() -> str:
    """Of this distribution."""
    return metadata.version("xgboost-mme")


@dataclass(frozen=True)
class Parts:
    """The local SageMaker but for its HTTP server."""

    aws: AwsServer
    runtime: JobRuntime
    plane: ControlPlane
    app: Starlette


@asynccontextmanager
async def assembled(settings: LocalSettings, stopping: asyncio.Event) -> AsyncIterator[Parts]:
    """Start all parts; end them, and save what is to be kept, when the block ends.

    Args:
        settings: of all parts.
        stopping: set when the HTTP server is to end: answers without an end wait for it.

    Raises:
        LocalError: a part cannot be started, and why.
    """
    async with AsyncExitStack() as stack:
        aws = AwsServer(settings.run, settings.aws_port)
        stack.push_async_callback(aws.stop)
        await aws.start()
        clients = Clients(aws.endpoint, settings.region)
        await _restore(settings, clients, stack)
        await asyncio.to_thread(seed, clients)

        runtime = await choose(settings)
        stack.push_async_callback(runtime.close)
        metrics, logs, events = Metrics(clients), LogStreams(clients), Events()
        for telemetry in (metrics, logs):
            telemetry.start()
            stack.push_async_callback(telemetry.close)

        jobs = JobRunner(runtime, clients, settings, events, _job_logs(logs), metrics)
        stack.push_async_callback(jobs.close)
        endpoints = EndpointManager(
            Context(
                runtime=runtime,
                clients=clients,
                region=settings.region,
                run=settings.run,
                instance_type=instance_types.find,
                metrics=metrics,
                logs=logs,
                events=events,
                parameters=PlatformParameters(),
            )
        )
        stack.push_async_callback(endpoints.close)
        scaler = Autoscaler(endpoints, clients, events)
        scaler.start()
        stack.push_async_callback(scaler.close)
        plane = ControlPlane(clients, runtime, jobs, endpoints, events, settings.state)
        stack.push_async_callback(plane.close)

        def state() -> dict[str, Any]:
            live = {job["name"]: job for job in jobs.snapshot()}
            return {
                "endpoints": endpoints.snapshot(),
                "training_jobs": [live.get(job.name, job.shown()) for job in plane.training_jobs],
                "events": list(events.recent)[-_EVENTS_SHOWN:],
                "aws_endpoint": aws.endpoint,
                "runtime": runtime.name,
                "version": version(),
            }

        page = page_routes(state, events, LogTail(clients), stopping)
        access = Access(clients)
        app = make_app(plane, Invoker(endpoints, access.check), page, access.check_operation)
        yield Parts(aws, runtime, plane, app)


async def _restore(settings: LocalSettings, clients: Clients, stack: AsyncExitStack) -> None:
    """Put back what the state directory keeps, and keep what changes."""
    if settings.state is None:
        return
    state = State(settings.state, clients)
    stack.callback(state.close)
    await asyncio.to_thread(state.restore)
    keeping = asyncio.create_task(state.keep())

    async def stop() -> None:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        try:
            await asyncio.to_thread(state.save)
        except Exception:  # the rest is to end all the same
            _log.exception("the state is not saved")

    stack.push_async_callback(stop)


def _job_logs(logs: LogStreams) -> Callable[[str, str], JobLog]:
    def open_stream(group: str, name: str) -> JobLog:
        return _JobLog(logs, logs.open(group, name))

    return open_stream


class _JobLog:
    """A stream of a training job: what is left is sent when the job ends."""

    def __init__(self, logs: LogStreams, stream: LogStream) -> None:
        self._logs = logs
        self._stream = stream

    def write(self, line: str) -> None:
        """Take a line."""
        self._stream.write(line)

    async def close(self) -> None:
        """Send what is left."""
        await self._logs.release(self._stream)
