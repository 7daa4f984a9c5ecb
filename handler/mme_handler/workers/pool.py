"""Which model goes where: admission, the shared hosts, the isolated workers, and their recovery.

A home is chosen when MMS connects for a model, so recovery needs no machinery of its own: when a
process ends, MMS's connections to it end; MMS comes back, and the models are loaded into a process
that lives.

A file that takes the loader down with a signal takes its host with it. The models that were being
loaded there at that moment are loaded again, each in a process of its own; the one that takes this
down too is the culprit. Its digest is kept, so that the same file never meets a host again.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

from mme_handler.errors import MmeError, ModelLoadError, OutOfMemoryError
from mme_handler.logs import get_logger
from mme_handler.metrics import ServerMetrics
from mme_handler.mms.rendezvous import Launch
from mme_handler.models.archive import Archive, fingerprint
from mme_handler.models.memory import Budget, MeasuredError
from mme_handler.models.memory import Home as Kind
from mme_handler.options import Options
from mme_handler.settings import Settings
from mme_handler.workers.admission import Admission
from mme_handler.workers.channel import Channel, Message
from mme_handler.workers.gpus import Placement
from mme_handler.workers.homes import HomeEndedError, HomeProcess, Loaded, Zygote, describe_exit
from mme_handler.workers.reports import Reports

log = get_logger(__name__)

_MOST_CULPRITS: Final = 1000
_KILLED: Final = (
    "the host that was loading this model was killed, most likely for want of memory; unload "
    "another model first"
)
_PAUSES: Final = (0.0, 0.1)  # seconds after which unloaded models may have given way
_HOST_WITHIN: Final = 30.0  # seconds for a host to come back


@dataclass(slots=True)
class _Served:
    """One connection of MMS and where it is served."""

    launch: Launch
    home: HomeProcess


class Pool:
    """The processes that serve models.

    Args:
        settings: the server's settings.
        budget: admits each model before it is loaded.
        zygote: what processes are forked from.
        metrics: where loads and invocations are counted.
        run: the run directory.
        places: the GPUs, if there are any.
    """

    def __init__(
        self,
        settings: Settings,
        budget: Budget,
        zygote: Zygote,
        metrics: ServerMetrics,
        run: Path,
        places: Placement,
    ) -> None:
        self._settings = settings
        self._budget = budget
        self._zygote = zygote
        self._metrics = metrics
        self._places = places
        limit = settings.model_memory_limit or budget.limit // 4
        self._options = Options.from_settings(settings, limit, run)
        self._admission = Admission(settings, budget, places)
        self._hosts: set[HomeProcess] = set()
        self._isolated: set[HomeProcess] = set()
        self._served: dict[int, _Served] = {}
        self._keys = itertools.count(1)
        self._host_ready = asyncio.Event()
        self._culprits: dict[str, None] = {}  # digests, oldest first
        self.reports = Reports(lambda: self._hosts | self._isolated)
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self.on_disconnect: Callable[[Launch], None] = lambda _: None
        """Told when a connection to a model has ended, whoever ended it."""
        self.sweep: Callable[[], None] = lambda: None
        """Releases at once every model that MMS has unloaded already."""

    @property
    def hosts(self) -> int:
        """Hosts alive."""
        return len(self._hosts)

    @property
    def isolated(self) -> int:
        """Isolated workers alive."""
        return len(self._isolated)

    def pids(self) -> list[int]:
        """Process ids of all homes."""
        return [home.pid for home in (*self._hosts, *self._isolated) if home.pid]

    async def start(self) -> None:
        """Fork the hosts."""
        places = self._places.hosts(self._settings.hosts)
        await asyncio.gather(*(self._add_host(gpu) for gpu in places))

    def close(self) -> None:
        """End every process at once."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        for home in (*self._hosts, *self._isolated):
            home.kill()
            home.close()

    async def load(self, launch: Launch, connection: socket.socket, gpu: int = -1) -> int:
        """Find the model a home that loads it and serves `connection`; return its process id.

        `gpu` is the number that MMS gave to the connection, below 0 for none.

        Raises:
            MmeError: the model cannot be loaded, or there is no room for it.
        """
        started, reload = time.perf_counter(), launch.loaded
        place = self._places.choose(launch, gpu)
        try:
            archive, kind, loaded = await self._admit_and_load(launch, connection, place)
        except MmeError as error:
            if not launch.loaded:
                self._admission.release(launch)
            self._metrics.loaded(launch.name, error.status_code, time.perf_counter() - started)
            log.error(
                "load failed",
                model=launch.name,
                status=error.status_code,
                reason=error.message,
                **({"exception": error.trace} if error.trace else {}),
            )
            raise
        self._admission.loaded(launch, loaded.taken, place)
        launch.info = loaded.info
        seconds = time.perf_counter() - started
        self._metrics.loaded(launch.name, 200, seconds)
        log.info(
            "reloaded" if reload else "loaded",
            model=launch.name,
            home=kind,
            pid=loaded.pid,
            **loaded.info,
            bytes=archive.size,
            memory=self._budget.charge(launch),
            **({} if place is None else {"gpu": place}),
            milliseconds=round(seconds * 1e3, 1),
        )
        return loaded.pid

    async def _admit_and_load(
        self, launch: Launch, connection: socket.socket, gpu: int | None
    ) -> tuple[Archive, Kind, Loaded]:
        try:
            archive = self._options.inspect(launch.path)
            kind = self._kind(archive)
            await self._admit(launch, kind, archive, gpu)
            return archive, kind, await self._load(launch, connection, kind, archive, gpu)
        except (MmeError, asyncio.CancelledError):
            raise
        except Exception as error:
            log.exception("unexpected error in a load", model=launch.name)
            raise ModelLoadError(f"the load failed: {type(error).__name__}: {error}") from error

    def unload(self, launch: Launch) -> None:
        """Forget a model that MMS has unloaded; a process of its own ends with it."""
        self._admission.release(launch)
        for served in list(self._served.values()):
            if served.launch is launch and served.home.kind == "isolated":
                served.home.kill()
        if launch.loaded:
            launch.loaded = False
            log.info("unloaded", model=launch.name)

    def _kind(self, archive: Archive) -> Kind:
        if archive.needs_own_process or self._settings.isolation == "process":
            return "isolated"
        if self._culprits and fingerprint(archive) in self._culprits:
            return "isolated"
        return "shared"

    async def _admit(self, launch: Launch, kind: Kind, archive: Archive, gpu: int | None) -> None:
        admit = partial(self._admission.admit, launch, kind, archive, gpu)
        with contextlib.suppress(OutOfMemoryError):
            admit()
            return
        self.sweep()
        for pause in _PAUSES:
            with contextlib.suppress(MeasuredError):
                admit()
                return
            # What was unloaded may still be on its way back to the system.
            await asyncio.sleep(pause)
            await self.reports.trim()
        admit()

    async def _load(
        self,
        launch: Launch,
        connection: socket.socket,
        kind: Kind,
        archive: Archive,
        gpu: int | None,
    ) -> Loaded:
        if kind == "shared":
            host = await self._host(gpu)
            try:
                async with asyncio.timeout(self._settings.model_timeout):
                    return await self._load_into(host, launch, connection)
            except TimeoutError:
                why = "did not come back from loading this model in time and is replaced"
                host.kill()
            except HomeEndedError:
                why = "ended while it was loading this model"
                if await self._is_killed_for_memory(host):
                    # For this file, or for what else there was: next time it is not in a host, and
                    # if that process is killed too, the answer is 500, and nothing need make room.
                    self._suspect(archive)
                    raise OutOfMemoryError(_KILLED) from None
            log.warning(f"a host {why}: the model gets a process of its own", model=launch.name)
            self._suspect(archive)
            self._admission.release(launch)
            await self._admit(launch, "isolated", archive, gpu)
        home = await self._fork("isolated", gpu)
        try:
            loaded = await self._load_into(home, launch, connection)
        except HomeEndedError:
            how = describe_exit(await self._zygote.exit_status(home.pid or 0))
            raise ModelLoadError(f"the process that was loading this model {how}") from None
        except MmeError:
            home.kill()
            raise
        self._acquit(archive)
        return loaded

    async def _is_killed_for_memory(self, home: HomeProcess) -> bool:
        """Whether a process was ended as the kernel does it for want of memory."""
        if home.killed:
            return False
        return await self._zygote.exit_status(home.pid or 0) == -signal.SIGKILL

    async def _load_into(
        self, home: HomeProcess, launch: Launch, connection: socket.socket
    ) -> Loaded:
        key = next(self._keys)
        self._served[key] = _Served(launch, home)
        try:
            return await home.load(key, launch.name, str(launch.path), connection)
        except BaseException:
            self._served.pop(key, None)
            raise

    def _suspect(self, archive: Archive) -> None:
        self._culprits[fingerprint(archive)] = None
        while len(self._culprits) > _MOST_CULPRITS:
            del self._culprits[next(iter(self._culprits))]

    def _acquit(self, archive: Archive) -> None:
        if self._culprits:
            self._culprits.pop(fingerprint(archive), None)

    async def _host(self, gpu: int | None) -> HomeProcess:
        """The host with the fewest models, of those with this GPU."""
        async with asyncio.timeout(_HOST_WITHIN):
            while not (hosts := [host for host in self._hosts if host.gpu == gpu]):
                self._host_ready.clear()
                await self._host_ready.wait()
        return min(hosts, key=lambda host: len(host.keys))

    async def _add_host(self, gpu: int | None) -> None:
        self._hosts.add(await self._fork("shared", gpu))
        self._host_ready.set()

    async def _fork(self, kind: Kind, gpu: int | None) -> HomeProcess:
        channel, far = Channel.pair()
        home = HomeProcess(kind, channel, self._on_home_ended, lambda *_: None, gpu)
        home.message = partial(self._on_message, home)
        with far:
            environment = self._places.environment(gpu)
            home.pid = await self._zygote.fork(kind, asdict(self._options), environment, far)
        home.start()
        if kind == "isolated":
            self._isolated.add(home)
        return home

    def _on_message(self, home: HomeProcess, message: Message, descriptors: list[int]) -> None:
        match message["event"]:
            case "counts":
                self._metrics.add(message["model"], message["invocations"])
            case "report" | "trimmed":
                self.reports.answered(home, message)
            case "closed" | "again" as event:
                if message["invocations"]:
                    self._metrics.add(message["model"], message["invocations"])
                served = self._served.pop(message["key"], None)
                if served is None:
                    return
                if event == "again":
                    connection = socket.socket(fileno=descriptors[0])
                    self._spawn(self._begin_afresh(served, connection, message["why"]))
                else:
                    self.on_disconnect(served.launch)

    async def _begin_afresh(self, served: _Served, connection: socket.socket, why: str) -> None:
        """Serve a connection of MMS in a new process, in place of one that cannot go on."""
        launch = served.launch
        log.warning(f"{why}, forking another isolated worker", model=launch.name)
        self._metrics.restarts["isolated"] += 1
        with connection:
            try:
                home = await self._fork("isolated", served.home.gpu)
                await self._load_into(home, launch, connection)
            except (MmeError, HomeEndedError) as error:
                log.error("reload failed", model=launch.name, reason=str(error))
                self.on_disconnect(launch)

    def _on_home_ended(self, home: HomeProcess) -> None:
        self._hosts.discard(home)
        self._isolated.discard(home)
        self.reports.ended(home)
        lost = [key for key, served in self._served.items() if served.home is home]
        launches = [self._served.pop(key).launch for key in lost]
        for launch in launches:
            # One that was still being loaded is in the hands of `_load`.
            if launch.loaded:
                self.on_disconnect(launch)
        if self._closing:
            return
        loaded = [launch for launch in launches if launch.loaded and _lives(launch.pid)]
        self._spawn(self._after_end(home, loaded))
        if home.kind == "shared":
            self._places.host_ended(home.gpu)
            self._spawn(self._add_host(home.gpu))

    async def _after_end(self, home: HomeProcess, launches: list[Launch]) -> None:
        if home.pid is None or (home.kind == "isolated" and not launches):
            return
        how = describe_exit(await self._zygote.exit_status(home.pid))
        home.kill()  # what a model's code has started does not outlive it
        if home.kind == "shared":
            self._metrics.restarts["host"] += 1
            log.error(f"host {how}, forking another", pid=home.pid, models=len(launches))
        else:
            self._metrics.restarts["isolated"] += 1
            log.error(
                f"isolated worker {how}, to be forked again", pid=home.pid, model=launches[0].name
            )

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
