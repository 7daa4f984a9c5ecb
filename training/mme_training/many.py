"""How many models are trained at once, and what became of each.

Processes are spawned, never forked: a fork of a process in which OpenMP has already run can hang.
Every model trains on one thread, since the processes already fill the cores.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

from mme_training.houses import SEED, make_houses, write_csv
from mme_training.pack import MODEL_NAME, pack
from mme_training.split import split
from mme_training.train import rmse, train


@dataclass(frozen=True)
class Job:
    """One city to train; its files go to the directory ``<out>/<city>``.

    `rows` houses are drawn from `seed`. `extra` is put into the archive, as in `pack`.
    """

    city: str
    out: Path
    rows: int = 1000
    seed: int = SEED
    extra: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What became of one job: `path` and `rmse`, or else `error`.

    `path` is the archive, `rmse` the error on the test rows in dollars, `seconds` the time the
    job itself took (0 if its process died), and `error` the type and text of what went wrong.
    """

    city: str
    path: Path | None = None
    rmse: float | None = None
    seconds: float = 0.0
    error: str | None = None


def train_many(
    jobs: Sequence[Job],
    workers: int | None = None,
    on_done: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Run every job, `workers` processes at a time (default: one for each core).

    A job that fails, even one whose process is killed, costs only itself. `on_done` is called in
    the caller's thread with each outcome as it comes; the list returned is in the order of `jobs`.
    A script that calls this needs the usual ``if __name__ == "__main__"`` guard.

    Raises:
        ValueError: `workers` is below one, or two jobs would write the same files.
        Exception: whatever `on_done` raises; jobs not yet begun are then dropped.
    """
    count = (os.cpu_count() or 1) if workers is None else workers
    if count < 1:
        raise ValueError(f"workers must be at least 1, not {count}")
    if len({job.out / job.city for job in jobs}) < len(jobs):
        raise ValueError("two jobs have the same city and directory")
    pools: SimpleQueue[ProcessPoolExecutor] = SimpleQueue()
    for _ in range(count):
        pools.put(_one_process())
    threads = ThreadPoolExecutor(count)
    try:
        futures = [threads.submit(_run, job, pools) for job in jobs]
        for future in as_completed(futures):
            if on_done:
                on_done(future.result())
        return [future.result() for future in futures]
    finally:
        threads.shutdown(cancel_futures=True)
        for _ in range(count):
            pools.get().shutdown()


def train_one(job: Job) -> Outcome:
    """Make the houses of one city, train on them, and write the CSV files and the archive.

    Writes ``train.csv``, ``validation.csv``, ``test.csv`` and ``<city>.tar.gz``. Raises nothing:
    what goes wrong is in the outcome.
    """
    start = time.perf_counter()
    try:
        path, test_rmse = _make(job)
    except Exception as failure:
        return _failed(job, failure, time.perf_counter() - start)
    return Outcome(job.city, path, test_rmse, time.perf_counter() - start)


def _make(job: Job) -> tuple[Path, float]:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", job.city):
        raise ValueError(f"{job.city!r} cannot be the name of a directory and of a model")
    parts = split(make_houses(job.city, job.rows, job.seed), job.seed)
    model = train(parts.train, parts.validation)
    directory = job.out / job.city
    directory.mkdir(parents=True, exist_ok=True)
    for name, part in parts._asdict().items():
        write_csv(part, directory / f"{name}.csv")
    archive = directory / f"{job.city}.tar.gz"
    with tempfile.TemporaryDirectory() as scratch:
        model_file = Path(scratch) / MODEL_NAME
        model.booster.save_model(model_file)
        pack(model_file, archive, job.extra)
    return archive, rmse(model.booster, parts.test)


def _run(job: Job, pools: SimpleQueue[ProcessPoolExecutor]) -> Outcome:
    pool = pools.get()
    try:
        return pool.submit(train_one, job).result()
    except Exception as failure:
        # train_one raises nothing, so the process has died, and its pool with it. With a single
        # shared pool every job still waiting would be lost too.
        pool.shutdown()
        pool = _one_process()
        return _failed(job, failure)
    finally:
        pools.put(pool)


def _one_process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


def _failed(job: Job, failure: Exception, seconds: float = 0.0) -> Outcome:
    return Outcome(job.city, seconds=seconds, error=f"{type(failure).__name__}: {failure}")
