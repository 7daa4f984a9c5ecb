"""What has happened, for the page and the terminal: loads, evictions, changes of status."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final

_KEPT: Final = 2000
_MOST_WAITING: Final = 1000


class Events:
    """The last events, and those who listen for the next; used on the event loop only."""

    def __init__(self) -> None:
        self.recent: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._listeners: set[asyncio.Queue[dict[str, Any]]] = set()

    def emit(self, kind: str, **fields: Any) -> None:
        """Record an event: ``emit("model loaded", endpoint=.., target_model=.., seconds=..)``."""
        event = {"time": time.time(), "kind": kind, **fields}
        self.recent.append(event)
        for listener in self._listeners:
            if not listener.full():  # one that does not read misses events, and holds up nobody
                listener.put_nowait(event)

    async def listen(self) -> AsyncIterator[dict[str, Any]]:
        """Yield events as they come, until the caller stops."""
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_MOST_WAITING)
        self._listeners.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)
