"""The server's side of its processes: the zygote, and the homes forked from it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from mme_handler.errors import MmeError, ModelLoadError, OutOfMemoryError
from mme_handler.logs import get_logger
from mme_handler.models.memory import Home as Kind
from mme_handler.workers.channel import Channel, Message
from mme_handler.workers.descendants import kill_descendants

log = get_logger(__name__)

_EXIT_STATUS_WITHIN: Final = 0.5  # seconds for the zygote's word on how a process ended
_KEPT_STATUSES: Final = 1000
_MOST_FAILURES: Final = 3  # zygotes in a row that end before they can fork


class HomeEndedError(Exception):
    """The process ended while it was loading a model."""


@dataclass(slots=True)
class Loaded:
    """What a home tells of a model that it has loaded."""

    pid: int
    seconds: float
    taken: int | None
    info: dict[str, Any]
    """`ModelInfo.summary`, if the model is a booster."""


@dataclass(eq=False)
class HomeProcess:
    """A process that serves models: a shared host, or one model's isolated worker."""

    kind: Kind
    channel: Channel
    ended: Callable[[HomeProcess], None]
    message: Callable[[Message, list[int]], None]
    gpu: int | None = None
    """The number of the one GPU that it sees."""
    pid: int | None = None
    keys: set[int] = field(default_factory=set)
    alive: bool = True
    killed: bool = False
    """Whether this server has ended it."""
    _loads: dict[int, asyncio.Future[Loaded]] = field(default_factory=dict)

    def start(self) -> None:
        """Begin to read what the process says."""
        asyncio.get_running_loop().add_reader(self.channel, self._on_readable)

    async def load(self, key: int, model: str, path: str, connection: socket.socket) -> Loaded:
        """Have the process load a model and serve it on `connection`.

        Raises:
            MmeError: the model cannot be loaded.
            HomeEndedError: the process ended before it had an answer.
        """
        future: asyncio.Future[Loaded] = asyncio.get_running_loop().create_future()
        self._loads[key] = future
        self.keys.add(key)
        try:
            self.send({"do": "load", "key": key, "model": model, "path": path}, connection.fileno())
            return await future
        except MmeError:
            self.keys.discard(key)
            raise
        finally:
            del self._loads[key]

    def send(self, message: Message, *descriptors: int) -> None:
        """Send a message; a process that is gone is noticed when its end of file arrives."""
        with contextlib.suppress(OSError):
            self.channel.send(message, *descriptors)

    def kill(self) -> None:
        """End the process, and whatever a model's code has started in it."""
        if self.pid is None:
            return
        self.killed = True
        if self.kind == "isolated":
            kill_descendants(self.pid)
            with contextlib.suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)
        if self.alive:
            with contextlib.suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Let go of the process, which ends when it notices."""
        if self.alive:
            self.alive = False
            asyncio.get_running_loop().remove_reader(self.channel)
            self.channel.close()

    def _on_readable(self) -> None:
        try:
            messages = self.channel.receive()
        except EOFError:
            self._on_ended()
            return
        for message, descriptors in messages:
            self._on_message(message, descriptors)

    def _on_message(self, message: Message, descriptors: list[int]) -> None:
        match message["event"]:
            case "loaded":
                if future := self._pending(message["key"]):
                    fields = ("pid", "seconds", "taken", "info")
                    future.set_result(Loaded(*(message[name] for name in fields)))
            case "failed":
                if future := self._pending(message["key"]):
                    kind = OutOfMemoryError if message["status"] == 507 else ModelLoadError
                    error = kind(message["reason"])
                    error.status_code = message["status"]
                    error.trace = message["trace"]
                    future.set_exception(error)
            case event:
                if event in ("again", "closed"):
                    self.keys.discard(message["key"])
                self.message(message, descriptors)

    def _pending(self, key: int) -> asyncio.Future[Loaded] | None:
        future = self._loads.get(key)
        return None if future is None or future.done() else future

    def _on_ended(self) -> None:
        self.close()
        for future in self._loads.values():
            if not future.done():
                future.set_exception(HomeEndedError())
        self.ended(self)


class Zygote:
    """The process that workers are forked from; replaced when it ends."""

    def __init__(
        self, *, json_logs: bool, restarted: Callable[[], None], failed: Callable[[], None]
    ) -> None:
        self._json_logs = json_logs
        self._restarted = restarted
        self._failed = failed
        self._failures = 0
        self._mms_group = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._ready = asyncio.Event()
        self._forks: dict[int, asyncio.Future[int]] = {}
        self._numbers = itertools.count()
        self._exit_statuses: dict[int, asyncio.Future[int]] = {}
        self._closing = False

    @property
    def pid(self) -> int | None:
        """Its process id, if it runs."""
        return self._process.pid if self._process else None

    def reap(self) -> None:
        """Collect the process after its end; its end of file says the rest."""
        if self._process is not None:
            self._process.poll()

    async def start(self, mms_group: int) -> None:
        """Start the process and wait until it can fork.

        It ends the process group `mms_group` should this server be killed.
        """
        self._mms_group = mms_group
        self._spawn()
        await self._ready.wait()

    def close(self) -> None:
        """End the process; what was forked from it goes on."""
        self._closing = True
        if self._channel is not None:
            asyncio.get_running_loop().remove_reader(self._channel)
            self._channel.close()
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(2)
            self._process.kill()
            self._process.wait()

    async def fork(
        self,
        kind: Kind,
        options: dict[str, Any],
        environment: dict[str, str],
        home_end: socket.socket,
    ) -> int:
        """Fork a worker that talks on `home_end`; return its process id.

        `environment` is added to what it inherits.
        """
        while True:
            await self._ready.wait()
            number = next(self._numbers)
            future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            self._forks[number] = future
            message = {
                "do": "fork", "home": number, "kind": kind,
                "options": options, "environment": environment, "json_logs": self._json_logs,
            }  # fmt: skip
            try:
                if self._channel is not None:
                    self._channel.send(message, home_end.fileno())
                    return await future
            except (OSError, HomeEndedError):
                await asyncio.sleep(0.05)  # a new zygote is on its way
            finally:
                self._forks.pop(number, None)

    async def exit_status(self, pid: int) -> int | None:
        """How a forked process ended: its exit status, a signal as a negative number, or None."""
        future = self._status_of(pid)
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(asyncio.shield(future), _EXIT_STATUS_WITHIN)
        return None

    def _status_of(self, pid: int) -> asyncio.Future[int]:
        if pid not in self._exit_statuses:
            if len(self._exit_statuses) >= _KEPT_STATUSES:
                self._exit_statuses.pop(next(iter(self._exit_statuses)))
            self._exit_statuses[pid] = asyncio.get_running_loop().create_future()
        return self._exit_statuses[pid]

    def _spawn(self) -> None:
        channel, far = Channel.pair()
        environment = {
            **os.environ,
            # One thread a process: there are as many hosts as CPUs. Not OpenMP's, which would hold
            # for models that ask for more: each booster has its own number.
            "OPENBLAS_NUM_THREADS": "1",
            # Two arenas: enough for a loading thread beside the answering one, and little to trim.
            "MALLOC_ARENA_MAX": "2",
        }
        with far:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "mme_handler.workers.zygote"),
                    *(str(far.fileno()), str(self._mms_group)),
                ],
                pass_fds=[far.fileno()],
                env=environment,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C is for the server alone
            )
        self._process, self._channel = process, channel
        asyncio.get_running_loop().add_reader(channel, self._on_readable, process, channel)

    def _on_readable(self, process: subprocess.Popen[bytes], channel: Channel) -> None:
        try:
            messages = channel.receive()
        except EOFError:
            self._on_ended(process, channel)
            return
        for message, _ in messages:
            match message["event"]:
                case "ready":
                    self._failures = 0
                    self._ready.set()
                case "forked":
                    future = self._forks.get(message["home"])
                    if future is not None and not future.done():
                        future.set_result(message["pid"])
                case "exited":
                    status = self._status_of(message["pid"])
                    if status.done():  # the process id has been used again
                        self._exit_statuses.pop(message["pid"])
                        status = self._status_of(message["pid"])
                    status.set_result(message["status"])

    def _on_ended(self, process: subprocess.Popen[bytes], channel: Channel) -> None:
        asyncio.get_running_loop().remove_reader(channel)
        channel.close()
        self._ready.clear()
        for future in self._forks.values():
            if not future.done():
                future.set_exception(HomeEndedError())
        if self._closing:
            return
        process.kill()
        process.wait()
        self._failures += 1
        if self._failures > _MOST_FAILURES:
            log.error("the zygote does not come up")
            self._failed()
            return
        log.error("zygote ended, starting another", pid=self.pid)
        self._restarted()
        self._spawn()


def describe_exit(status: int | None) -> str:
    """How a process ended, for a person."""
    if status is None:
        return "ended"
    if status >= 0:
        return f"exited with status {status}"
    with contextlib.suppress(ValueError):
        return f"was ended by {signal.Signals(-status).name}"
    return f"was ended by signal {-status}"
