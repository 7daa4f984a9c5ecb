"""What all training jobs share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mme_local.aws.clients import Clients
from mme_local.containers.hosts import JobRuntime
from mme_local.events import Events
from mme_local.jobs.slots import Slots
from mme_local.jobs.telemetry import LogStreams, MetricSink

_T = TypeVar("_T")


@dataclass(frozen=True)
class Surroundings:
    """What all training jobs share."""

    runtime: JobRuntime
    clients: Clients
    image: str
    """`LocalSettings.image`."""
    directory: Path
    """Below it, the files of each job."""
    events: Events
    log_streams: LogStreams
    metrics: MetricSink
    threads: Executor
    slots: Slots

    @property
    def in_docker(self) -> bool:
        """Whether containers are Docker's, and see neither this machine's files nor its ports."""
        return self.runtime.name == "docker"

    async def in_thread(self, work: Callable[..., _T], *arguments: Any) -> _T:
        """Call what blocks on a thread of the jobs' own, of which there are more than asyncio's."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.threads, work, *arguments)
