"""A process with a session of its own, and all that it has started: what they take, their end."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

import psutil

from mme_local.containers.spec import Usage


class Tree:
    """The processes that descend from one; used by one thread at a time.

    Args:
        pid: of the first, which leads its session, and may have ended already.
    """

    def __init__(self, pid: int) -> None:
        self._session = pid
        self._root: psutil.Process | None = None
        with contextlib.suppress(psutil.NoSuchProcess):
            self._root = psutil.Process(pid)
        self._looked = time.monotonic()
        self._seconds: dict[int, float] = {}

    def usage(self) -> Usage | None:
        """What they take now; None when the first has ended.

        Memory is what is resident without the pages of files, which the kernel can take back. A
        page that forked processes share counts in each of them: to divide it between them, as PSS
        does, the kernel would have to walk through all their pages.
        """
        memory, seconds = 0, {}
        for process in self._all():
            with contextlib.suppress(psutil.Error), process.oneshot():
                taken = process.memory_info()
                times = process.cpu_times()
                memory += max(taken.rss - taken.shared, 0)
                seconds[process.pid] = times.user + times.system
        if not seconds:
            return None
        now = time.monotonic()
        used = sum(spent - self._seconds.get(pid, 0.0) for pid, spent in seconds.items())
        cpu = max(used, 0.0) / max(now - self._looked, 1e-3)
        self._looked, self._seconds = now, seconds
        return Usage(memory, cpu)

    def kill(self) -> None:
        """Send SIGKILL to all of them; also to those of the session that the first has left."""
        for process in [*self._all(), *self._in_session()]:
            with contextlib.suppress(psutil.Error):
                process.kill()

    def _all(self) -> Iterator[psutil.Process]:
        """The first and its descendants, none when the first has ended."""
        with contextlib.suppress(psutil.Error):
            root = self._root
            if root and root.is_running() and root.status() != psutil.STATUS_ZOMBIE:
                descendants = root.children(recursive=True)
                yield root
                yield from descendants

    def _in_session(self) -> Iterator[psutil.Process]:
        """Those of the first's session, unless it is another's by now that has the same number."""
        is_first = self._root is not None and self._root.is_running()
        if psutil.pid_exists(self._session) and not is_first:
            return
        for pid in psutil.pids():
            with contextlib.suppress(psutil.Error, OSError):
                if os.getsid(pid) == self._session:
                    yield psutil.Process(pid)
