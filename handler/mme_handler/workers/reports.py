"""What is asked of all homes at once: what they have counted, whether they work, to trim."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Final

from mme_handler.workers.channel import Message
from mme_handler.workers.homes import HomeProcess

_REPORT_WITHIN: Final = 1.0  # seconds
_TRIM_WITHIN: Final = 0.3


class Reports:
    """Questions that are on their way, and who has not answered yet.

    `homes` returns the homes that are alive.
    """

    def __init__(self, homes: Callable[[], set[HomeProcess]]) -> None:
        self._homes = homes
        self._tags = itertools.count(1)
        self._waiting: dict[int, tuple[set[HomeProcess], asyncio.Future[None]]] = {}
        self._activity: dict[HomeProcess, tuple[int, int]] = {}

    async def fetch(self) -> None:
        """Have the homes send what they have counted; one that is at work counts next time."""
        await self._ask("report", self._homes(), _REPORT_WITHIN)

    async def trim(self) -> None:
        """Have the hosts give back to the system at once what unloaded models held."""
        hosts = {home for home in self._homes() if home.kind == "shared"}
        await self._ask("trim", hosts, _TRIM_WITHIN)

    async def drain(self, quiet: float, limit: float) -> None:
        """Wait until no home has been at work for `quiet` seconds, at most `limit` seconds."""
        end = time.monotonic() + limit
        since, before = time.monotonic(), None
        while time.monotonic() < min(end, since + quiet):
            self._activity.clear()
            # A home that does not report is at work.
            working = len(self._homes())
            try:
                await asyncio.wait_for(self.fetch(), quiet / 4)
            except TimeoutError:
                since = time.monotonic()
                continue
            now = sum(answered for _, answered in self._activity.values())
            busy = sum(busy for busy, _ in self._activity.values())
            if busy or now != before or len(self._activity) < working:
                since, before = time.monotonic(), now
            await asyncio.sleep(quiet / 10)

    def answered(self, home: HomeProcess, message: Message) -> None:
        """A home has answered."""
        if message["event"] == "report":
            self._activity[home] = (message["busy"], message["answered"])
        self._strike(home, self._waiting.get(message["tag"]))

    def ended(self, home: HomeProcess) -> None:
        """A home has ended, and will not answer any more."""
        for waiting in self._waiting.values():
            self._strike(home, waiting)

    async def _ask(self, what: str, homes: set[HomeProcess], within: float) -> None:
        if not homes:
            return
        tag = next(self._tags)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[tag] = (homes, future)
        for home in tuple(homes):
            home.send({"do": what, "tag": tag})
        try:
            await asyncio.wait_for(future, within)
        except TimeoutError:
            pass
        finally:
            del self._waiting[tag]

    @staticmethod
    def _strike(
        home: HomeProcess, waiting: tuple[set[HomeProcess], asyncio.Future[None]] | None
    ) -> None:
        if waiting is None:
            return
        homes, future = waiting
        homes.discard(home)
        if not homes and not future.done():
            future.set_result(None)
