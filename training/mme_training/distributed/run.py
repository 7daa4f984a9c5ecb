"""What the process that SageMaker starts on each host does: it leads, or follows."""

from __future__ import annotations

import asyncio
import threading
import time

from mme_training.distributed.job import Cluster, Job
from mme_training.distributed.lead import ResumeFrom, lead
from mme_training.distributed.outcome import lost
from mme_training.distributed.processes import Processes, started
from mme_training.fit import Fitted

_TICK = 0.2
_GRACE = 5.0
"""Seconds for the reason to arrive, once a worker of this host is gone."""


def train_on_hosts(
    cluster: Cluster,
    job: Job,
    *,
    resume_from: ResumeFrom | None = None,
    stop: threading.Event | None = None,
) -> Fitted | None:
    """Train one model with the rows of all hosts; every host calls this, with its own `job`.

    Hosts without rows take no part, nor do those without rows of ``validation`` when there is
    such a channel; a warning names them. The model is close to the one that a single host would
    train on all rows, but not the same to the byte.

    Args:
        cluster: the hosts, and which of them this is.
        job: what to train, as this host sees it.
        resume_from: asked on the first host, with the number of features, for the booster of
            rounds already done; all hosts go on from it.
        stop: set, on any host, when training is to end with the round on all of them.

    Returns:
        What was trained, on the first host; None on the others, once it is over.

    Raises:
        UserError: the data or a hyperparameter is not right on one of the hosts.
        AlgorithmError: a host was lost or did not come, or training failed otherwise, or was
            stopped before the first round. Either is raised on every host, for the same reason.
    """
    with started(cluster, job, stop or threading.Event()) as processes:
        if not cluster.leads:
            _follow(cluster, processes)
            return None
        return asyncio.run(lead(cluster, job, resume_from, processes)).fitted()


def _follow(cluster: Cluster, processes: Processes) -> None:
    """Wait until it is over; raise the reason if it did not end well."""
    dead_since = None
    while (outcome := processes.outcome(_TICK)) is None:
        processes.stopping()
        if (end := processes.end()) is None:
            continue
        dead_since = dead_since or time.monotonic()
        if not processes.any_left() or time.monotonic() - dead_since > _GRACE:
            raise lost(cluster.current_host, end).error()
    if outcome.failure:
        raise outcome.failure.error()
