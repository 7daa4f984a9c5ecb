"""Where MMS's launchers, MMS's connections and the pool meet.

A launcher announces its process id on a FIFO. Its command line, which MMS made, names the model,
its directory and the socket on which MMS expects a worker. The rendezvous listens there for as long
as the launcher lives, accepts MMS's connection, reads the load request, has the pool serve the
connection, and answers. A connection that ends while the launcher lives is a lost one: MMS comes
back to the same socket after a second and asks for the load again. When the launcher has ended, the
model is unloaded.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mme_handler.errors import MmeError
from mme_handler.logs import get_logger
from mme_handler.mms import protocol
from mme_handler.mms.frontend import ALIVE, LAUNCHES
from mme_handler.mms.hold import Hold

log = get_logger(__name__)

_WATCH_INTERVAL = 0.02  # seconds between looks at launchers that MMS is not connected for
_STOP_INTERVAL = 0.0005  # seconds between looks whether a launcher waits yet
_HANGS_UP_WITHIN = 1.0  # seconds from the word that a load has failed
_STREAM_FILES_AFTER = 2.0  # seconds after a load in which MMS has long opened its output files


@dataclass(eq=False)
class Launch:
    """A model that MMS has asked for, from its launcher's start to its launcher's end."""

    pid: int
    started: str  # the launcher's start time: a process id alone may be used again
    name: str
    path: Path
    socket_path: Path
    listener: socket.socket
    connections: int = 0
    met: bool = False  # MMS has connected for the first time
    loaded: bool = False
    info: Mapping[str, str | int] = field(default_factory=dict)  # what the model says about itself
    stream_ids: list[str] = field(default_factory=list)


class Pool(Protocol):
    """What the rendezvous needs of the pool of worker processes."""

    async def load(self, launch: Launch, connection: socket.socket, gpu: int) -> int:
        """Have a process load the model and serve `connection`; return its process id.

        `gpu` is the number that MMS gave to the connection's worker, below 0 for none.

        Raises:
            MmeError: the model cannot be loaded; the status is the answer.
        """

    def unload(self, launch: Launch) -> None:
        """Forget the model: its launcher has ended."""


def _stat(pid: int) -> tuple[str, str] | None:
    """State letter and start time of a process, or None when it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else (fields[0], fields[19])


class Rendezvous:
    """Listens for launchers and, for each of them, for MMS."""

    def __init__(self, run: Path, pool: Pool, hold: Hold) -> None:
        self._run = run
        self._pool = pool
        self._hold = hold
        self._loop = asyncio.get_running_loop()
        self.launches: dict[str, Launch] = {}  # by socket path: a name may be used again at once
        self._unconnected: set[Launch] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        # Opened for reading and writing, so that no open blocks and no reader meets the end while
        # this process lives.
        self._announcements = os.open(run / LAUNCHES, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self.on_load: Callable[[Launch, MmeError | None], None] = lambda *_: None
        """Told of each load: the model, and what it failed with or None."""
        self._alive = os.open(run / ALIVE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def start(self) -> None:
        """Begin to listen on the running event loop."""
        self._loop.add_reader(self._announcements, self._on_announcements)
        self._spawn(self._watch())

    def close(self) -> None:
        """Stop listening; the launchers end when their FIFO does."""
        self._loop.remove_reader(self._announcements)
        for task in self._tasks:
            task.cancel()
        for launch in list(self.launches.values()):
            self._forget(launch)
        os.close(self._announcements)
        os.close(self._alive)

    def disconnected(self, launch: Launch) -> None:
        """One of the model's connections has ended; find out whether the model is to go."""
        launch.connections -= 1
        if launch.connections:
            return
        if self.launches.get(launch.socket_path.as_posix()) is launch:
            self._unconnected.add(launch)
        else:  # swept while it waited for room, and charged since
            self._pool.unload(launch)

    def sweep(self) -> None:
        """Unload at once every model whose launcher has ended."""
        for launch in list(self.launches.values()):
            try:
                os.kill(launch.pid, 0)
            except ProcessLookupError:
                self._unload(launch)

    def _spawn(self, coroutine: asyncio._CoroutineLike[None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_announcements(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for line in os.read(self._announcements, 1 << 16).split():
                self._spawn(self._launched(int(line)))

    async def _launched(self, pid: int) -> None:
        launch = self._listen(pid)
        if launch is None:
            return
        self.launches[launch.socket_path.as_posix()] = launch
        self._unconnected.add(launch)
        self._loop.add_reader(launch.listener, self._on_connection, launch)
        await self._continue(launch)

    def _listen(self, pid: int) -> Launch | None:
        stat = _stat(pid)
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            stat = None
        if stat is None:
            log.warning("launcher ended before it could be served", pid=pid)
            return None
        words = [os.fsdecode(word) for word in arguments]
        # Pairs of option and value follow the shell and the script.
        options = dict(zip(words[2:-1:2], words[3::2], strict=False))
        socket_path = Path(options["--sock-name"])
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        listener.bind(socket_path.as_posix())
        listener.listen(16)
        return Launch(
            pid=pid,
            started=stat[1],
            name=options["--model-name"],
            path=Path(options["--model-path"]),
            socket_path=socket_path,
            listener=listener,
        )

    async def _continue(self, launch: Launch) -> None:
        """Let the launcher go on, once it has come to where it waits."""
        while (stat := _stat(launch.pid)) and stat[1] == launch.started:
            if stat[0] == "T":
                with contextlib.suppress(ProcessLookupError):
                    os.kill(launch.pid, signal.SIGCONT)
                return
            await asyncio.sleep(_STOP_INTERVAL)

    def _on_connection(self, launch: Launch) -> None:
        try:
            connection, _ = launch.listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        first, launch.met = not launch.met, True
        launch.connections += 1
        self._unconnected.discard(launch)
        self._spawn(self._serve(launch, connection, first))

    async def _serve(self, launch: Launch, connection: socket.socket, first: bool) -> None:
        """Answer MMS's load request on a new connection."""
        with connection:
            try:
                request = await self._read_load(connection)
            except (protocol.ProtocolError, OSError) as error:
                log.error("MMS sent no load request", model=launch.name, error=str(error))
                self.disconnected(launch)
                return
            launch.stream_ids.append(request.stream_id)
            if first:
                await self._continue(launch)
            try:
                pid = await self._pool.load(launch, connection, request.gpu)
            except MmeError as error:
                self.on_load(launch, error)
                await self._refuse(launch, connection, error)
                return
            launch.loaded = True
            reply = protocol.load_reply(200, f"{protocol.LOADED_MESSAGE}{pid}")
            await self._loop.sock_sendall(connection, reply)
        self.on_load(launch, None)
        self._loop.call_later(_STREAM_FILES_AFTER, self._remove_stream_files, launch)

    async def _read_load(self, connection: socket.socket) -> protocol.LoadRequest:
        received = bytearray()
        while True:
            piece = await self._loop.sock_recv(connection, 1 << 16)
            if not piece:
                raise protocol.ProtocolError("the connection ended")
            received += piece
            try:
                request = protocol.parse(received)
            except protocol.IncompleteError:
                continue
            if not isinstance(request, protocol.LoadRequest):
                raise protocol.ProtocolError("an invocation before the load request")
            return request

    async def _refuse(self, launch: Launch, connection: socket.socket, error: MmeError) -> None:
        if not launch.loaded:
            reply = protocol.load_reply(int(error.status_code), str(error.message))
            async with self._hold.all_answers():
                # MMS frees the model's name, hangs up, and kills the launcher, in this order.
                with contextlib.suppress(OSError, TimeoutError):
                    await self._loop.sock_sendall(connection, reply)
                    await asyncio.wait_for(self._loop.sock_recv(connection, 1), _HANGS_UP_WITHIN)
        # A model that was loaded before and cannot be loaded again: to end the connection makes
        # MMS try again, less and less often; an answer would make it send invocations here.
        self.disconnected(launch)

    async def _watch(self) -> None:
        """Find the launchers that have ended among those that MMS is not connected for."""
        while True:
            await asyncio.sleep(_WATCH_INTERVAL)
            for launch in list(self._unconnected):
                stat = _stat(launch.pid)
                if stat is None or stat[1] != launch.started:
                    self._unload(launch)

    def _unload(self, launch: Launch) -> None:
        self._forget(launch)
        self._pool.unload(launch)

    def _forget(self, launch: Launch) -> None:
        self.launches.pop(launch.socket_path.as_posix(), None)
        self._unconnected.discard(launch)
        if launch.listener.fileno() >= 0:
            self._loop.remove_reader(launch.listener)
            launch.listener.close()
        launch.socket_path.unlink(missing_ok=True)
        self._remove_stream_files(launch)

    def _remove_stream_files(self, launch: Launch) -> None:
        """Remove the files that MMS opened to read the worker's output from.

        A stock worker makes FIFOs of these names. Where none is, MMS makes an empty file, and its
        reader ends at once: two threads and two descriptors fewer for the model.
        """
        for stream_id in launch.stream_ids:
            for stream in ("stdout", "stderr"):
                (self._run / f"{stream_id}-{stream}").unlink(missing_ok=True)
