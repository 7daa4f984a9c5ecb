"""How a container ends, and what its first process does for the others."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event

from mme_local.conformance import clauses
from mme_local.conformance.container import STOP_WITHIN
from mme_local.conformance.models import Model
from mme_local.conformance.registry import Doubtful, check, expect
from mme_local.conformance.server import NoAnswer, Server
from mme_local.conformance.target import Target

_CLIENTS = 4
_CHURN = 10
_KILLED = 137
_WELL = (0, 143)


@check(
    "signals.sigterm",
    clauses.STOP,
    f"SIGTERM ends it under traffic within {STOP_WITHIN} s, with status 0 or 143",
)
def sigterm(target: Target) -> str:
    """Whenever an endpoint is updated or scaled in."""
    with target.start() as container:
        server = container.server
        model = server.add()
        stopped = Event()
        with ThreadPoolExecutor(_CLIENTS) as threads:
            clients = [threads.submit(_ask, server, model, stopped) for _ in range(_CLIENTS)]
            time.sleep(1)
            started = time.monotonic()
            try:
                status = container.stop()
            finally:
                stopped.set()
            seconds = time.monotonic() - started
            statuses = sum((client.result() for client in clients), Counter[int]())
    expect(status != _KILLED, f"it had to be killed after {seconds:.0f} s")
    expect(status in _WELL, f"status {status} after {seconds:.1f} s")
    text = f"status {status} after {seconds:.1f} s"
    if set(statuses) != {200}:
        raise Doubtful(f"{text}; clients saw {dict(statuses)}")
    return f"{text}; {statuses[200]:,} requests were answered, none with an error"


@check("signals.reap", clauses.REAP, f"no zombies after {_CHURN} models and an orphan have ended")
def reap(target: Target) -> str:
    """Each is an entry in the process table that never goes."""
    container = target.container()
    server = container.server
    before = len(container.zombies())
    for _ in range(_CHURN):
        model = server.add()
        answer = server.unload(model)
        expect(answer.status == 200, f"DELETE: {answer}")
    container.make_orphan()
    time.sleep(2)
    left = container.zombies()
    expect(len(left) <= before, f"{len(left) - before} zombies: {', '.join(left[:5])}")
    return "none"


def _ask(server: Server, model: Model, stopped: Event) -> Counter[int]:
    """Statuses of requests until the server is gone."""
    statuses: Counter[int] = Counter()
    with suppress(NoAnswer):
        while not stopped.is_set():
            statuses[server.invoke(model).status] += 1
    return statuses
