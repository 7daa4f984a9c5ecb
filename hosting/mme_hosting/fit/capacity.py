"""How many models an instance has room for, as bytes and as a count.

An estimate, and so a range. *Likely*: SageMaker begins to unload models where an instance's memory
is used to three quarters, as users have seen (AWS says "high"), and keeps 1 GiB. *At best*: it
keeps half a GiB, and lets the server fill the rest until that refuses a model with 507.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mme_handler.models.memory import Budget
from mme_hosting.fit.instances import GIB, InstanceType
from mme_hosting.fit.measure import HOSTS, Kind, Measured

MOST_MODELS: Final = 8_000
"""On one instance: MMS takes four process ids a model, and the kernel has 32,768 if not told
otherwise."""

_KERNEL: Final = (
    200_000  # bytes a model: stacks, page tables and sockets, which no process is charged
)


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What AWS does not publish."""

    memory_high: float = 0.75
    """Share of an instance's memory above which SageMaker unloads models."""
    host_memory: int = GIB
    """Bytes of it that SageMaker and the system keep for themselves."""
    utilization: float = 0.6
    """Share of the CPUs that is to be used."""


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes for models on an instance; 0 if not even the server has room."""

    likely: int
    best: int


def room(instance: InstanceType, measured: Measured, assumed: Assumptions, largest: int) -> Room:
    """What is left for models.

    Args:
        instance: the instance type.
        measured: what the server takes.
        assumed: what SageMaker does.
        largest: bytes of the model files of the largest model: room to read them is kept free.
    """
    hosts = instance.gpus or instance.vcpus
    base = measured.base + (hosts - HOSTS) * measured.per_host
    budget = Budget(1 << 62, base, lambda: 0)  # what the server keeps free, by its own rules
    budget.admit("largest", "shared", "ubj", largest)
    taken = budget.used - budget.charge("largest")
    high = min(instance.memory - assumed.host_memory, int(assumed.memory_high * instance.memory))
    best = instance.memory - min(assumed.host_memory, GIB // 2)
    return Room(max(high - taken, 0), max(best - taken, 0))


def cost(kind: Kind, size: int) -> int:
    """Bytes that a model takes: as measured, or as the server charges it, whichever is more."""
    return max(kind.memory.at(size) + _KERNEL, kind.charge.at(size), 1)


def fitting(costs: Sequence[int], bytes_: int) -> int:
    """How many models of average cost fit into `bytes_`; no more than the server can have."""
    mean = sum(costs) / len(costs)
    return min(int(bytes_ / mean), MOST_MODELS)
