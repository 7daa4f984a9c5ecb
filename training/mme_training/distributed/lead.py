"""The first host's part: who is there, who takes part, what all agree on, and what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import dask
import distributed
import xgboost as xgb

from mme_training.distributed import worker as work
from mme_training.distributed.dask_nodes import CONFIG, Departures, Scheduler, opened, silence
from mme_training.distributed.job import Cluster, Job
from mme_training.distributed.names import address_of, host_of, worker_name
from mme_training.distributed.outcome import Failure, Outcome, lost
from mme_training.distributed.processes import Processes
from mme_training.distributed.rounds import Trained
from mme_training.distributed.shares import Agreement, Share, copied, reconcile
from mme_training.errors import AlgorithmError, TrainingError, UserError

ResumeFrom = Callable[[int], xgb.Booster | None]
Step = tuple[Callable[..., Any], tuple[Any, ...]]

_TICK: Final = 0.1
_ECHO: Final = 30.0
"""Seconds for the failure to show of which another worker's is the echo."""
_FAREWELL: Final = 5.0
"""Seconds for all hosts to take note of the end."""

_log = logging.getLogger(__name__)


async def lead(
    cluster: Cluster, job: Job, resume_from: ResumeFrom | None, processes: Processes
) -> Trained:
    """Lead the training of one model, and tell all hosts how it ended.

    Raises:
        TrainingError: it did not end well; all hosts raise the same.
    """
    silence()
    address = address_of(cluster.first, cluster.patience)
    with dask.config.set(CONFIG):
        departures = Departures()
        try:
            scheduler = await Scheduler(host=address, port=cluster.port, plugins=[departures])
        except RuntimeError as error:  # Dask's, around the one that says why.
            raise AlgorithmError(
                f"{cluster.first} cannot listen at {address}:{cluster.port}: {error.__cause__}"
            ) from error
        connect: Any = distributed.Client
        async with (
            opened(scheduler),
            opened(connect(scheduler.address, asynchronous=True, set_as_default=False)) as client,
        ):
            leader = _Leader(cluster, job, client, scheduler, departures, processes)
            failure: Failure | None = Failure(f"{cluster.first} was interrupted")
            try:
                trained = await leader.train(resume_from)
                failure = None
            except TrainingError as error:
                failure = Failure(str(error), isinstance(error, UserError))
                raise
            except Exception as error:
                failure = Failure(f"{cluster.first}: {type(error).__name__}: {error}")
                raise failure.error() from error
            finally:
                await leader.announce(Outcome(failure))
            return trained


class _Leader:
    def __init__(
        self,
        cluster: Cluster,
        job: Job,
        client: Any,
        scheduler: Scheduler,
        departures: Departures,
        processes: Processes,
    ) -> None:
        self._cluster = cluster
        self._job = job
        self._client = client
        self._scheduler = scheduler
        self._departures = departures
        self._processes = processes
        self._training = False

    async def train(self, resume_from: ResumeFrom | None) -> Trained:
        """Do all steps."""
        await self._gather_hosts()
        shares = await self._read_training()
        agreement = reconcile(shares)
        members = await self._read_validation(shares, agreement)
        raw = await self._model_so_far(resume_from, agreement, members)
        tracker = (await self._do({members[0]: (work.start_tracker, (len(members),))}))[members[0]]
        self._training = True
        results = await self._do(
            {name: (work.train, (rank, tracker, raw)) for rank, name in enumerate(members)}
        )
        trained: Trained = results[members[0]]
        return trained

    async def announce(self, outcome: Outcome) -> None:
        """Tell each host that is there."""
        with contextlib.suppress(Exception):
            await asyncio.wait_for(
                self._client.run(work.announce, outcome, on_error="ignore"), _FAREWELL
            )

    async def _gather_hosts(self) -> None:
        names = set(self._names(self._cluster.hosts))
        deadline = time.monotonic() + self._cluster.patience
        while missing := names - {state.name for state in self._scheduler.workers.values()}:
            self._check()
            if time.monotonic() > deadline:
                hosts = ", ".join(sorted({host_of(name) for name in missing}))
                raise AlgorithmError(
                    f"these hosts did not come in {self._cluster.patience:.0f} seconds: {hosts}; "
                    "their logs may say why, and the security group of the job must let its hosts "
                    "reach each other on all ports"
                )
            await asyncio.sleep(_TICK)

    async def _read_training(self) -> dict[str, Share]:
        names = self._names(self._cluster.hosts)
        found = await self._do(dict.fromkeys(names, (work.read_training, ())))
        shares: dict[str, Share] = {}
        for host in sorted(self._cluster.hosts):
            share = found[worker_name(host, 0)]
            if share is None:
                _warn_left_out(host, "train")
            else:
                shares[host] = share
        if not shares:
            raise UserError("the channel train is empty on all hosts")
        same = copied(shares)
        if self._job.copies and len(same) < len(shares):
            raise UserError(
                "the hosts have different rows in the channel train, and are to have copies of "
                "the same: give it the S3DataDistributionType FullyReplicated"
            )
        if same and not self._job.copies:
            _log.warning(
                "%s have the same rows in the channel train, which count once for each host: "
                "ShardedByS3Key gives each host files of its own",
                ", ".join(same),
            )
        return shares

    async def _read_validation(
        self, shares: Mapping[str, Share], agreement: Agreement
    ) -> list[str]:
        """Read it, and return the names of the workers that take part, by rank."""
        names = self._names(shares)
        count = self._cluster.workers_per_host
        parts = len(names) if self._job.copies else count
        found = await self._do(
            {
                name: (work.read_validation, (agreement, number % parts, parts))
                for number, name in enumerate(names)
            }
        )
        if self._job.read_validation is None:
            return names
        without = [host for host in shares if not found[worker_name(host, 0)]]
        if len(without) == len(shares):
            raise UserError(
                "the channel validation is empty on all hosts that have rows to train on; leave "
                "the channel out to train without"
            )
        for host in without:
            _warn_left_out(host, "validation")
        return [name for name in names if host_of(name) not in without]

    async def _model_so_far(
        self, resume_from: ResumeFrom | None, agreement: Agreement, members: Sequence[str]
    ) -> Any:
        booster = resume_from(agreement.columns) if resume_from else None
        if booster is None:
            return None
        # Once to each, as the argument of a step would go through the scheduler for each.
        return await self._watched(
            self._client.scatter(
                bytes(booster.save_raw("ubj")),
                workers=[self._address(name) for name in members],
                broadcast=True,
                hash=False,
            )
        )

    async def _do(self, steps: Mapping[str, Step]) -> dict[str, Any]:
        """Let each worker do its step, all at once."""
        results = await self._watched(
            asyncio.gather(*(self._step(name, *step) for name, step in steps.items()))
        )
        return dict(zip(steps, results, strict=True))

    async def _step(self, name: str, step: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        try:
            result = await self._client.submit(
                step, *arguments, workers=[self._address(name)], pure=False, retries=0
            )
        except Exception as error:
            # Dask's own: the worker is gone, as is known soon, or this package is broken.
            result = Failure(f"{host_of(name)}: {type(error).__name__}: {error}", elsewhere=True)
        if isinstance(result, Failure):
            if result.elsewhere:
                await asyncio.sleep(_ECHO)
            raise result.error()
        return result

    async def _watched(self, awaitable: Awaitable[Any]) -> Any:
        """Its result, unless a host is lost before."""
        task = asyncio.ensure_future(awaitable)
        # Else asyncio logs how the steps end that nobody waits for any more.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            while not task.done():
                self._check()
                await asyncio.wait([task], timeout=_TICK)
            return task.result()
        finally:
            task.cancel()

    def _check(self) -> None:
        outcome = self._processes.outcome(0)
        if outcome and outcome.failure:  # A worker of this host that could not start.
            raise outcome.failure.error()
        if end := self._processes.end():
            raise lost(self._cluster.first, end).error()
        for name in self._departures.names:
            raise lost(host_of(name)).error()
        if self._processes.stopping() and not self._training:
            raise AlgorithmError("training was stopped before its first round: there is no model")

    def _address(self, name: str) -> str:
        return next(
            address for address, state in self._scheduler.workers.items() if state.name == name
        )

    def _names(self, hosts: Sequence[str] | Mapping[str, Any]) -> list[str]:
        return [
            worker_name(host, index)
            for host in sorted(hosts)
            for index in range(self._cluster.workers_per_host)
        ]


def _warn_left_out(host: str, channel: str) -> None:
    _log.warning(
        "%s has no data in the channel %s and takes no part in training: with ShardedByS3Key "
        "there must be a file for each host",
        host,
        channel,
    )
