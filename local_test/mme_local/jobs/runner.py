"""Training jobs: started, stopped, and shown."""

from __future__ import annotations

import asyncio
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from mme_local.aws.clients import Clients
from mme_local.containers.hosts import JobRuntime
from mme_local.control.records import TrainingJob
from mme_local.events import Events
from mme_local.jobs.run import JobRun
from mme_local.jobs.slots import Slots
from mme_local.jobs.surroundings import Surroundings
from mme_local.jobs.telemetry import LogStreams, MetricSink
from mme_local.settings import LocalSettings

_THREADS: Final = 16


class JobRunner:
    """Runs training jobs, as many instances at a time as this machine has CPUs.

    The others wait in the order in which they came, in the status ``Starting``.

    Args:
        runtime: what containers run as.
        clients: of moto's server.
        settings: of the local SageMaker.
        events: takes an event for each status of a job.
        log_streams: makes streams of CloudWatch Logs.
        metrics: CloudWatch's.
        at_once: instances at a time; by default one for each CPU.
    """

    def __init__(
        self,
        runtime: JobRuntime,
        clients: Clients,
        settings: LocalSettings,
        events: Events,
        log_streams: LogStreams,
        metrics: MetricSink,
        at_once: int | None = None,
    ) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, "mme-job")
        directory = settings.run.absolute() / "jobs"
        shutil.rmtree(directory, ignore_errors=True)  # Of a run that was killed.
        self._around = Surroundings(
            runtime,
            clients,
            settings.image,
            directory,
            events,
            log_streams,
            metrics,
            self._threads,
            Slots(at_once or len(os.sched_getaffinity(0))),
        )
        self._runs: dict[str, JobRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, job: TrainingJob) -> None:
        """Begin to run a job; returns at once, and the record shows how it goes on."""
        run = JobRun(job, self._around)
        self._runs[job.name] = run
        task = asyncio.create_task(run.run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self, name: str) -> None:
        """Ask a job to end: SIGTERM, SIGKILL after 120 s, and what it has made is uploaded.

        Returns at once. Nothing happens to a job that has ended, or that is not known.
        """
        if run := self._runs.get(name):
            run.stop()

    def snapshot(self) -> list[dict[str, Any]]:
        """What the page shows of each job, in the order in which they were started."""
        return [{**run.job.shown(), "metrics": run.metrics.last} for run in self._runs.values()]

    async def close(self) -> None:
        """End all jobs at once; they have failed then."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)
