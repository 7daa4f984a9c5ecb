"""Whether a model may be loaded: the memory, the processes and threads, and its GPU's memory."""

from __future__ import annotations

from mme_handler.mms.rendezvous import Launch
from mme_handler.models import settings as model_settings
from mme_handler.models.archive import Archive
from mme_handler.models.memory import Budget
from mme_handler.models.memory import Home as Kind
from mme_handler.settings import Settings
from mme_handler.workers.gpus import Placement
from mme_handler.workers.task_limit import TaskLimit


class Admission:
    """What models are charged with, all limits together.

    Args:
        settings: the server's settings.
        budget: the memory.
        places: the GPUs, if there are any.
    """

    def __init__(self, settings: Settings, budget: Budget, places: Placement) -> None:
        self._copies = settings.workers_per_model
        self._budget = budget
        self._places = places
        self._task_limit = TaskLimit(settings.hosts)

    def admit(self, launch: Launch, kind: Kind, archive: Archive, gpu: int | None) -> None:
        """Charge a model that is about to be loaded onto `gpu`, unless it is charged already.

        Raises:
            ModelLoadError: the model's own settings cannot be read.
            OutOfMemoryError: there is no room for it.
        """
        own = model_settings.read(launch.path)
        if launch not in self._budget:  # not loaded before, nor another of its workers
            self._task_limit.check(self._budget.models, self._copies)
            self._budget.admit(launch, kind, archive.format, archive.size, self._copies, own.memory)
        if own.device != "cpu":
            self._places.admit(launch, gpu, kind, archive)

    def loaded(self, launch: Launch, taken: int | None, gpu: int | None) -> None:
        """The model is loaded, as `Budget.loaded`."""
        self._budget.loaded(launch, taken)
        self._places.loaded(launch, gpu)

    def release(self, launch: Launch) -> None:
        """The model is gone, or was never loaded."""
        self._budget.release(launch)
        self._places.release(launch)
