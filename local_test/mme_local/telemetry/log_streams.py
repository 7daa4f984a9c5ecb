"""CloudWatch Logs: lines of containers, under AWS's names of groups and streams, in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from typing import Any, Final

from mme_local.aws.clients import Clients

_PERIOD: Final = 0.5
_MOST_EVENTS: Final = 10_000  # AWS's limits of one PutLogEvents
_MOST_BYTES: Final = 1 << 20
_OVERHEAD: Final = 26  # bytes that AWS counts for each event
_LONGEST: Final = (256 << 10) - _OVERHEAD  # bytes of one line
_MOST_KEPT: Final = 50_000  # lines that wait while CloudWatch Logs does not answer

_log = logging.getLogger(__name__)


class LogStream:
    """One stream of a group; any thread may write to it."""

    def __init__(self, group: str, stream: str) -> None:
        self.group = group
        self.stream = stream
        self._lines: list[tuple[int, str]] = []
        self._lock = threading.Lock()
        self._made = False
        self._last = 0

    def write(self, line: str) -> None:
        """Add a line, with the time now; an empty one, which AWS does not take, as a space."""
        line = line.rstrip("\n") or " "
        if len(line) > _LONGEST // 4:  # else it fits, whatever its letters
            line = line.encode()[:_LONGEST].decode(errors="ignore")
        with self._lock:
            if len(self._lines) < _MOST_KEPT:
                self._last = max(self._last, int(time.time() * 1000))  # AWS wants them in order
                self._lines.append((self._last, line))

    def send(self, client: Any) -> None:
        """Send what was written until now; blocks."""
        with self._lock:
            lines, self._lines = self._lines, []
        if not lines:
            return
        if not self._made:
            self._make(client)
        for batch in _batches(lines):
            client.put_log_events(
                logGroupName=self.group, logStreamName=self.stream, logEvents=batch
            )

    def _make(self, client: Any) -> None:
        exists = client.exceptions.ResourceAlreadyExistsException
        with contextlib.suppress(exists):
            client.create_log_group(logGroupName=self.group)
        with contextlib.suppress(exists):
            client.create_log_stream(logGroupName=self.group, logStreamName=self.stream)
        self._made = True


class LogStreams:
    """All streams that are written to; sends their lines twice a second."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._streams: dict[tuple[str, str], LogStream] = {}
        self._task: asyncio.Task[None] | None = None
        self._sending = asyncio.Lock()
        self._stopping = asyncio.Event()

    def open(self, group: str, stream: str) -> LogStream:
        """The stream of that name, made in CloudWatch Logs when a line comes."""
        return self._streams.setdefault((group, stream), LogStream(group, stream))

    async def release(self, stream: LogStream) -> None:
        """Send what is left of a stream that nobody writes to any more."""
        await self.flush()
        self._streams.pop((stream.group, stream.stream), None)

    def start(self) -> None:
        """Send twice a second from now on."""
        self._task = asyncio.create_task(self._run())

    async def flush(self) -> None:
        """Send what was written until now; what cannot be sent is lost, and logged."""
        async with self._sending:
            await asyncio.to_thread(self._send, list(self._streams.values()))

    async def close(self) -> None:
        """Send what is left, and stop."""
        self._stopping.set()
        if self._task:
            await self._task
        await self.flush()

    def _send(self, streams: list[LogStream]) -> None:
        client = self._clients.client("logs")
        for stream in streams:
            try:
                stream.send(client)
            except Exception as error:  # logs are never worth an outage
                _log.warning("lines of %s could not be sent: %s", stream.stream, error)

    async def _run(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _PERIOD)
            await self.flush()


def _batches(lines: list[tuple[int, str]]) -> list[list[dict[str, Any]]]:
    """As few calls as AWS's limits allow, oldest first."""
    batches: list[list[dict[str, Any]]] = [[]]
    size = 0
    for timestamp, line in lines:
        needed = len(line.encode()) + _OVERHEAD
        if len(batches[-1]) == _MOST_EVENTS or size + needed > _MOST_BYTES:
            batches.append([])
            size = 0
        size += needed
        batches[-1].append({"timestamp": timestamp, "message": line})
    return batches
