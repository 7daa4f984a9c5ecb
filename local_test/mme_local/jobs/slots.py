"""How many instances run at a time, and who comes next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Slots:
    """Places for instances, given out in the order in which they are asked for.

    Args:
        count: of the places.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = count
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def take(self, count: int) -> AsyncIterator[None]:
        """Wait for so many places at once; who needs more than there are takes all."""
        wanted = min(count, self._count)
        await self._acquire(wanted)
        try:
            yield
        finally:
            self._free += wanted
            self._hand_out()

    async def _acquire(self, wanted: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((wanted, turn))
        self._hand_out()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._free += wanted
            self._hand_out()
            raise

    def _hand_out(self) -> None:
        while self._waiting:
            wanted, turn = self._waiting[0]
            if turn.done():  # Given up.
                self._waiting.popleft()
            elif wanted <= self._free:
                self._waiting.popleft()
                self._free -= wanted
                turn.set_result(None)
            else:
                return
