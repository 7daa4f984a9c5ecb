"""What is trained, and by which hosts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import xgboost as xgb

from mme_training.data.dataset import Dataset
from mme_training.fit import Metric
from mme_training.hyperparameters.values import Hyperparameters


@dataclass(frozen=True, slots=True)
class Cluster:
    """The hosts of a training job, as ``resourceconfig.json`` names them."""

    hosts: tuple[str, ...]
    current_host: str
    workers_per_host: int = 1
    """How many processes train on each host: one, or one for each GPU."""
    gpus: bool = False
    """Whether each worker has a GPU to itself, the one of its number."""
    interface: str | None = None
    """Where GPUs of different hosts talk to each other; all else goes by the hosts' names."""
    port: int = 8786
    """Of the first host, where the others meet."""
    patience: float = 900.0
    """Seconds in which the hosts have to come; SageMaker does not start them all at once."""

    @property
    def first(self) -> str:
        """The host that leads, and saves the model."""
        return min(self.hosts)

    @property
    def leads(self) -> bool:
        """Whether this host is the first."""
        return self.current_host == self.first


@dataclass(frozen=True, slots=True)
class Functions:
    """The user's own objective and metric, as `mme_training.fit.fit` takes them."""

    objective: Callable[..., Any] | None = None
    metric: Metric | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One training, as one host sees it: what can be pickled for the processes of this host.

    It never leaves the host, so that paths in it are the host's own.
    """

    hyperparameters: Hyperparameters
    read_training: Callable[[], Dataset | None]
    """Reads what this host has of the channel; None where it has nothing."""
    read_validation: Callable[..., Dataset | None] | None = None
    """Called with the keyword `columns`; None if there is no such channel."""
    copies: bool = False
    """Whether every host has all rows, of which each worker is then to take its part.

    Otherwise hosts have different rows.
    """
    callbacks: Callable[[], Sequence[xgb.callback.TrainingCallback]] | None = None
    """Makes the callbacks that are to run once for all hosts, in the worker of rank 0.

    That is the first host's, as long as that has data.
    """
    functions: Callable[[], Functions] | None = None
    """Makes, in each worker, what cannot be pickled."""
