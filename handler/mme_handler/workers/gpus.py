"""Which GPU a model goes to, whether there is room on it, and what a process is to see of it.

MMS numbers the GPUs and gives the next number to each worker that it wants, one after the other: a
model goes where MMS said. Each process sees one GPU alone, which is then its number 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial

from mme_handler.metrics import GpuUse
from mme_handler.mms.rendezvous import Launch
from mme_handler.models.archive import Archive
from mme_handler.models.gpu import Gpus
from mme_handler.models.gpu_memory import GpuBudget
from mme_handler.models.memory import Home as Kind


class Placement:
    """The GPUs that models are served on, and what is charged on each.

    Without GPUs, every place is None and nothing is ever refused.

    Args:
        gpus: what there is, if anything.
        body: bytes of the largest request.
        workers: requests that MMS sends at a time to one model.
    """

    def __init__(self, gpus: Gpus | None, body: int, workers: int) -> None:
        self._gpus = gpus
        self._budgets: list[GpuBudget] = []
        if gpus is not None:
            for gpu in gpus.devices:
                self._budgets.append(GpuBudget(gpu.total, body, partial(gpus.measure, gpu)))
        self._copies = -(-workers // max(len(self._budgets), 1))
        self._models: Counter[int] = Counter()

    def hosts(self, without: int) -> list[int | None]:
        """Where the shared hosts are: one for each GPU; `without` of them if there is none."""
        return [*range(len(self._budgets))] or [None] * without

    def choose(self, launch: Launch, named: int) -> int | None:
        """The GPU that MMS named; where it named none that is there, the one with fewest models."""
        if not self._budgets:
            return None
        if 0 <= named < len(self._budgets):
            return named
        for gpu, budget in enumerate(self._budgets):
            if launch in budget:
                return gpu
        return min(range(len(self._budgets)), key=lambda gpu: self._models[gpu])

    def environment(self, gpu: int | None) -> dict[str, str]:
        """What a process must have in its environment before it initialises CUDA."""
        if self._gpus is None or gpu is None:
            return {}
        return {"CUDA_VISIBLE_DEVICES": self._gpus.devices[gpu].uuid}

    def admit(self, launch: Launch, gpu: int | None, kind: Kind, archive: Archive) -> None:
        """Charge a model to the GPU, unless it is already.

        Raises:
            OutOfMemoryError: there is no room for it.
        """
        if gpu is None or launch in self._budgets[gpu]:
            return
        self._budgets[gpu].admit(launch, kind, archive.format, archive.size, self._copies)
        self._models[gpu] += 1

    def loaded(self, launch: Launch, gpu: int | None) -> None:
        """The model is on the GPU."""
        if gpu is not None:
            self._budgets[gpu].loaded(launch)

    def release(self, launch: Launch) -> None:
        """The model is gone from every GPU, or was never there."""
        for gpu, budget in enumerate(self._budgets):
            if launch in budget:
                budget.release(launch)
                self._models[gpu] -= 1

    def host_ended(self, gpu: int | None) -> None:
        """The shared host of a GPU is gone."""
        if gpu is not None:
            self._budgets[gpu].host_ended()

    def charge(self, launch: Launch) -> int | None:
        """Bytes that a model is charged with on all GPUs together; None where there is no GPU."""
        return sum(budget.charge(launch) for budget in self._budgets) if self._budgets else None

    def usage(self) -> Iterator[GpuUse]:
        """What is in use on each GPU now."""
        for number, budget in enumerate(self._budgets):
            yield GpuUse(number, budget.measured, budget.used, budget.limit)
