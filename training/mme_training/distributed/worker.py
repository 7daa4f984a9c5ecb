"""The process that reads a host's rows and trains on them: one for each host, or for each GPU.

It is one that can be killed. A collective whose other end hangs cannot be interrupted, and so all
that the process leaves behind is kept by its parent, which ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Final

import dask
import xgboost as xgb
from xgboost import collective
from xgboost.tracker import RabitTracker

from mme_training.data.agree import agree
from mme_training.data.dataset import Dataset
from mme_training.distributed.dask_nodes import CONFIG, Worker, silence
from mme_training.distributed.job import Cluster, Functions, Job
from mme_training.distributed.names import address_of, worker_name
from mme_training.distributed.outcome import Failure, Outcome, attempt, lost
from mme_training.distributed.rounds import Trained, fit_shard
from mme_training.distributed.shares import Agreement, Share, conform, describe, part
from mme_training.errors import AlgorithmError

STOP: Final = "stop"
"""What the parent sends for training to end with the round."""


@dataclass
class _Place:
    """This process: whose it is, and what it holds between the steps."""

    cluster: Cluster
    job: Job
    index: int
    parent: Connection
    stop: threading.Event = field(default_factory=threading.Event)
    training: Dataset | None = None
    validation: Dataset | None = None
    tracker: RabitTracker | None = None

    @property
    def nthread(self) -> int:
        """How many threads this worker may use."""
        given = self.job.hyperparameters.booster.get("nthread")
        cpus = len(os.sched_getaffinity(0))
        return int(given) if given else max(cpus // self.cluster.workers_per_host, 1)


_place: _Place


def environment(cluster: Cluster, index: int, given: Mapping[str, str]) -> dict[str, str]:
    """What the worker of this `index` has in its environment besides what is `given`."""
    if not cluster.gpus:
        return {}
    visible = [name for name in given.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    interface = {"NCCL_SOCKET_IFNAME": cluster.interface} if cluster.interface else {}
    return {
        **{name: value for name, value in interface.items() if name not in given},
        "CUDA_VISIBLE_DEVICES": visible[index] if visible else str(index),
    }


def run_worker(cluster: Cluster, job: Job, index: int, parent: Connection, directory: str) -> None:
    """Serve until the parent ends this process.

    Args:
        cluster: the hosts.
        job: as this host sees it.
        index: of this worker among those of its host, from 0.
        parent: sends `STOP`; gets an `Outcome`, the first of which counts.
        directory: for files of Dask's; the owner's only.
    """
    # Asked to end, the parent ends training for all hosts together.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    # In time: CUDA looks at it when it is used first.
    os.environ.update(environment(cluster, index, os.environ))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    global _place
    _place = _Place(cluster, job, index, parent)
    threading.Thread(target=_listen, args=(_place,), daemon=True).start()
    try:
        asyncio.run(_serve(cluster, index, directory))
    except (OSError, ValueError, AlgorithmError) as error:
        _tell(Outcome(Failure(f"{cluster.current_host}: {error}")))
    threading.Event().wait()  # The parent reads what was told, and ends this process.


def read_training() -> Share | Failure | None:
    """Read what this host has of the channel ``train``."""

    def step() -> Share | None:
        data = _place.job.read_training()
        _place.training = data
        return describe(data) if data is not None and data.rows else None

    return attempt(_place.cluster.current_host, step)


def read_validation(agreement: Agreement, index: int, parts: int) -> int | Failure:
    """Keep the part `index` of `parts` of the rows, read ``validation``; return its rows."""

    def step() -> int:
        place = _place
        if place.training is None:
            raise AlgorithmError("the rows to train on were not read")
        place.training = conform(part(place.training, index, parts, "train"), agreement)
        if place.job.read_validation is None:
            return 0
        data = place.job.read_validation(columns=agreement.columns)
        if data is None or not data.rows:
            return 0
        place.validation = part(agree(data, place.training), index, parts, "validation")
        return data.rows

    return attempt(_place.cluster.current_host, step)


def start_tracker(workers: int) -> Mapping[str, Any] | Failure:
    """Start what introduces `workers` workers to each other; return how they find it."""

    def step() -> Mapping[str, Any]:
        host = address_of(_place.cluster.current_host, _place.cluster.patience)
        # It waits for the slowest for ever: that all are there, Dask knows.
        _place.tracker = RabitTracker(n_workers=workers, host_ip=host, sortby="task")
        _place.tracker.start()
        return dict(_place.tracker.worker_args())

    return attempt(_place.cluster.current_host, step)


def train(
    rank: int, tracker: Mapping[str, Any], resume_from: bytes | None
) -> Trained | Failure | None:
    """Train with the others; the worker of rank 0 returns what came of it."""

    def step() -> Trained | None:
        place = _place
        if place.training is None:
            raise AlgorithmError("the rows to train on were not read")
        training = place.training.matrix(place.nthread)
        validation = place.validation.matrix(place.nthread) if place.validation else None
        place.training = place.validation = None  # XGBoost has them in its own form.
        # Left only in the end: after an error the process is killed, and to leave would tell the
        # others that something went wrong before what it was is known.
        collective.init(
            **tracker, **_nccl(), dmlc_task_id=f"{rank:06d} on {place.cluster.current_host}"
        )
        fitted = fit_shard(
            place.job.hyperparameters,
            training,
            validation,
            place.job.callbacks() if place.job.callbacks and rank == 0 else (),
            place.job.functions() if place.job.functions else Functions(),
            stop=place.stop,
            nthread=place.nthread,
            resume_from=xgb.Booster(model_file=bytearray(resume_from)) if resume_from else None,
        )
        collective.finalize()
        return Trained.of(fitted) if rank == 0 else None

    return attempt(_place.cluster.current_host, step)


async def announce(outcome: Outcome) -> None:
    """Tell the parent how training ended for all."""
    _tell(outcome)


async def _serve(cluster: Cluster, index: int, directory: str) -> None:
    silence()
    first = address_of(cluster.first, cluster.patience)
    own = address_of(cluster.current_host, cluster.patience)
    with dask.config.set(CONFIG):
        worker = Worker(
            f"tcp://{first}:{cluster.port}",
            name=worker_name(cluster.current_host, index),
            nthreads=1,
            host=own,
            memory_limit=0,  # Dask would pause, or end, a worker that has read much.
            local_directory=directory,
            death_timeout=cluster.patience,
        )
        try:
            await worker
        except RuntimeError as error:
            raise AlgorithmError(f"a worker could not start: {error.__cause__}") from error
        except TimeoutError as error:
            raise AlgorithmError(
                f"the host {cluster.first} could not be reached at {first}:{cluster.port} in "
                f"{cluster.patience:.0f} seconds"
            ) from error
        worker.on_lost = lambda: _tell(Outcome(lost(cluster.first)))
        await worker.finished()  # type: ignore[no-untyped-call]


def _listen(place: _Place) -> None:
    with contextlib.suppress(EOFError, OSError):
        while True:
            if place.parent.recv() == STOP:
                place.stop.set()
    os._exit(1)  # The parent is gone.


def _tell(outcome: Outcome) -> None:
    with contextlib.suppress(OSError):
        _place.parent.send(outcome)


def _nccl() -> dict[str, Any]:
    """Where NCCL is, if this XGBoost loads it, as XGBoost itself finds it."""
    return dict(collective.CommunicatorContext().args)
