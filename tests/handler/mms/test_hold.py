"""The hold against a real MMS: nothing is answered while it lasts, and all is afterwards."""

import asyncio
import threading
import time

import httpx
import pytest
import structlog

from mme_handler.mms.frontend import HTTP_THREADS
from mme_handler.mms.hold import Hold
from support.serving import until


async def _hold(port: int, seconds: float, held: threading.Event) -> None:
    hold = Hold("127.0.0.1", port, HTTP_THREADS)
    await hold.start()
    try:
        async with hold.all_answers():
            held.set()
            await asyncio.sleep(seconds)
    finally:
        hold.close()


def test_nothing_is_answered_while_it_lasts(server):
    held = threading.Event()
    answered = []

    def ask(path):
        response = httpx.get(f"http://127.0.0.1:{server.port}{path}", timeout=10)
        answered.append((time.monotonic(), response.status_code))

    holding = threading.Thread(target=lambda: asyncio.run(_hold(server.port, 0.5, held)))
    holding.start()
    assert held.wait(5)
    started = time.monotonic()
    asking = [threading.Thread(target=ask, args=("/models",)) for _ in range(8)]
    for thread in asking:
        thread.start()
    for thread in [*asking, holding]:
        thread.join()
    assert [status for _, status in answered] == [200] * 8
    assert min(when for when, _ in answered) - started > 0.3


def test_it_leaves_no_model_behind(server):
    held = threading.Event()
    asyncio.run(_hold(server.port, 0, held))
    assert server.names() == set()


def test_it_does_not_wait_for_a_server_that_is_not_there():
    structlog.reset_defaults()  # whatever another test has configured may be closed by now
    held = threading.Event()
    started = time.monotonic()
    asyncio.run(_hold(1, 0, held))
    assert held.is_set()
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("clients", [1, 4])
def test_a_failed_name_is_free_when_its_client_hears_of_it(server, make_model, clients):
    """The same name again at once, by several clients with names of their own: never a 409."""
    bad = make_model("none", files={"model.ubj": "{L nothing"})
    statuses = []

    def insist(number):
        for _ in range(40):
            statuses.append(server.load(f"{bad.name[:-2]}{number:02}", bad.path)[0])

    threads = [threading.Thread(target=insist, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [500] * 40 * clients
    until(lambda: server.names() == set(), 5, "no name is left")
