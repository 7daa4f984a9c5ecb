from __future__ import annotations

import asyncio

from mme_local.jobs.slots import Slots


def _run(work) -> None:
    asyncio.run(asyncio.wait_for(work(), 5))


def test_first_come_first_served() -> None:
    async def work() -> None:
        slots, order = Slots(2), []

        async def job(name: str, count: int) -> None:
            async with slots.take(count):
                order.append(name)
                await asyncio.sleep(0.01)

        jobs = [("a", 1), ("b", 1), ("all", 9), ("c", 1), ("d", 1)]
        await asyncio.gather(*(job(*each) for each in jobs))
        assert order == ["a", "b", "all", "c", "d"]

    _run(work)


def test_no_more_than_there_are() -> None:
    async def work() -> None:
        slots, running, most = Slots(3), 0, 0

        async def job(count: int) -> None:
            nonlocal running, most
            async with slots.take(count):
                running += count
                most = max(most, running)
                await asyncio.sleep(0)
                running -= count

        await asyncio.gather(*(job(1 + number % 3) for number in range(30)))
        assert most == 3

    _run(work)


def test_who_gives_up_is_passed_over() -> None:
    async def work() -> None:
        slots = Slots(1)

        async def job() -> str:
            async with slots.take(1):
                return "done"

        async with slots.take(1):
            first, second = asyncio.create_task(job()), asyncio.create_task(job())
            await asyncio.sleep(0)
            first.cancel()
        assert await second == "done"
        assert first.cancelled()
        assert await job() == "done"

    _run(work)


def test_who_gives_up_in_the_moment_of_its_turn_gives_it_back() -> None:
    async def work() -> None:
        slots = Slots(1)

        async def job() -> str:
            async with slots.take(1):
                return "done"

        context = slots.take(1)
        await context.__aenter__()
        waiting = asyncio.create_task(job())
        await asyncio.sleep(0)
        await context.__aexit__(None, None, None)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert await job() == "done"

    _run(work)
