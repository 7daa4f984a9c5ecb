"""Admission by processes and threads: as many models as the control group lets run.

MMS takes a process, its launcher, and three threads for each worker of a model. Where it cannot
have them it keeps the client waiting for a minute and answers 500; so a model is refused with 507
while there are still enough for the next one to be started and refused.

What is charged is counted, not read: MMS keeps idle threads for a minute, and a model must fit in
the place of one that has just gone. What is read stands beside it, for threads that nobody counts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mme_handler.errors import OutOfMemoryError
from mme_handler.mms.frontend import HTTP_THREADS
from mme_handler.models.memory import lowest_limit

_PER_WORKER: Final = 4
_HOST_THREADS: Final = 8  # that a host may start when it has much to do
_SPARE: Final = 32  # for a host that is forked again, a health check, a shell


class TaskLimit:
    """How many processes and threads the control group allows, and what of them models take.

    Args:
        hosts: processes that serve plain models.
        root: where control groups are mounted.
        proc: directory of this process.
    """

    def __init__(
        self, hosts: int, root: Path = Path("/sys/fs/cgroup"), proc: Path = Path("/proc/self")
    ) -> None:
        self._directory, self.limit = lowest_limit("pids", "pids.max", "pids.max", root, proc)
        self._base: int | None = None
        # Each thread of MMS that speaks HTTP may be starting a model that is to be refused.
        self._reserve = _SPARE + _PER_WORKER * HTTP_THREADS + _HOST_THREADS * hosts

    def check(self, models: int, workers: int) -> None:
        """Refuse a model that leaves too few for the next one; its launcher runs already.

        Args:
            models: how many there are besides this one.
            workers: that MMS has for each model.

        Raises:
            OutOfMemoryError: there are too few left.
        """
        if self._directory is None or self.limit is None:
            return
        used = int((self._directory / "pids.current").read_text())
        theirs = _PER_WORKER * workers * (models + 1)
        if self._base is None:
            self._base = used - theirs
        if (
            self._base + theirs > self.limit - self._reserve
            or used > self.limit - self._reserve // 2
        ):
            raise OutOfMemoryError(
                f"no room for this model: {used:,} of at most {self.limit:,} processes and threads "
                "are there; unload another model first"
            )
