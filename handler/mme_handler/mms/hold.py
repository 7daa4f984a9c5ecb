"""Keeps MMS from sending any answer for a moment.

When a load fails, MMS tells the client first and unregisters the model then. A client that asks
again at once can meet its own name and a 409. So the failure is given to MMS while all of its HTTP
threads are held: the answer waits for them, and the name is free before anyone hears of it.

An HTTP thread of MMS is held by what MMS itself does on that thread: it downloads a model whose
``url`` is an HTTP address. The address is one of ours, which answers 404 when the moment is over;
MMS then registers nothing. A held thread takes no second request, so as many downloads as there are
threads means that every one of them is held.

In the same way MMS is kept from opening its port until the model that it starts with is loaded.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from mme_handler.logs import get_logger

log = get_logger(__name__)

_AGAIN_AFTER: Final = 0.02  # seconds for a download to come; two requests may share a thread
_GIVE_UP_AFTER: Final = 1.0  # seconds; a late 409 is better than a server that stands still
_GATE: Final = "/gate"
_NOT_FOUND: Final = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Hold:
    """Holds the HTTP threads of the MMS on `host` and `port`, of which there are `threads`."""

    def __init__(self, host: str, port: int, threads: int) -> None:
        self._host = host
        self._port = port
        self._threads = threads
        self._turn = asyncio.Lock()
        self._number = 0
        self._held = 0
        self._arrival = asyncio.Event()
        self._release = asyncio.Event()
        self._opened = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._requests: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Open the address that MMS is sent to."""
        self._server = await asyncio.start_server(self._on_download, "127.0.0.1", 0)

    @property
    def gate(self) -> str:
        """Address whose download ends when the gate is opened."""
        host, port = self._address()
        return f"http://{host}:{port}{_GATE}"

    def open_gate(self) -> None:
        """Let MMS go on with its start."""
        self._opened.set()

    def close(self) -> None:
        """Close that address; whatever is held goes on."""
        self._release.set()
        self._opened.set()
        if self._server is not None:
            self._server.close()
        for request in self._requests:
            request.cancel()

    @contextlib.asynccontextmanager
    async def all_answers(self) -> AsyncIterator[None]:
        """While the block runs, no client of MMS receives an answer."""
        async with self._turn:
            self._number += 1
            self._held = 0
            self._release = asyncio.Event()
            try:
                async with asyncio.timeout(_GIVE_UP_AFTER):
                    await self._hold_all()
            except TimeoutError:
                log.warning("MMS's HTTP threads could not all be held", held=self._held)
            try:
                yield
            finally:
                self._release.set()

    async def _hold_all(self) -> None:
        for _ in range(self._threads):
            self._send()
        while self._held < self._threads:
            self._arrival.clear()
            try:
                await asyncio.wait_for(self._arrival.wait(), _AGAIN_AFTER)
            except TimeoutError:
                self._send()

    def _send(self) -> None:
        request = asyncio.ensure_future(self._request())
        self._requests.add(request)
        request.add_done_callback(self._requests.discard)

    async def _request(self) -> None:
        """Have MMS download from here; whatever it answers, there is nothing to do."""
        with contextlib.suppress(OSError):
            host, port = self._address()
            reader, writer = await asyncio.open_connection(self._host, self._port)
            with contextlib.closing(writer):
                url = f"http%3A//{host}%3A{port}/{self._number}"
                writer.write(
                    f"POST /models?url={url} HTTP/1.1\r\nHost: {host}\r\n"
                    "Content-Length: 0\r\n\r\n".encode()
                )
                await reader.read()

    def _address(self) -> tuple[str, int]:
        if self._server is None:
            raise OSError("closed")
        host, port = self._server.sockets[0].getsockname()
        return host, port

    async def _on_download(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.IncompleteReadError):
            request = await reader.readuntil(b"\r\n\r\n")
            path = request.split(b" ", 2)[1]
            if path == _GATE.encode():
                await self._opened.wait()
            elif path == b"/%d" % self._number:
                self._held += 1
                self._arrival.set()
                await self._release.wait()
            writer.write(_NOT_FOUND)
            await writer.drain()
