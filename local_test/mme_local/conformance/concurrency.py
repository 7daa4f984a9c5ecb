"""Many things at once: loads, loads and invocations, and models that come and go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Final, TypeVar

from mme_local.conformance import clauses
from mme_local.conformance.registry import check, expect
from mme_local.conformance.server import Answer
from mme_local.conformance.target import Target

T = TypeVar("T")
R = TypeVar("R")

_LOADS: Final = 6
_CLIENTS: Final = 4
_ROUNDS: Final = 5


@check(
    "concurrency.loads",
    clauses.CONCURRENT,
    f"{_LOADS} different models, loaded at the same time, are 200 and answer",
)
def parallel_loads(target: Target) -> str:
    """As many requests for cold models bring."""
    server = target.server()
    models = [server.models.fresh() for _ in range(_LOADS)]
    started = time.monotonic()
    loads = _parallel(server.load, models)
    seconds = time.monotonic() - started
    _expect_all(loads, 200, "loads")
    for model in models:
        server.expect_answers(model, "loaded")
    return f"{_LOADS} in {seconds:.1f} s"


@check(
    "concurrency.same-model",
    clauses.LOADED,
    f"of {_CLIENTS} loads of one name at a time one is 200, the others 409",
)
def same_model(target: Target) -> str:
    """A platform that serialises loads never sees it; the model is loaded in any case."""
    server = target.server()
    model = server.models.fresh()
    statuses = sorted(answer.status for answer in _parallel(server.load, [model] * _CLIENTS))
    expect(statuses == [200, *[409] * (_CLIENTS - 1)], f"statuses {statuses}")
    server.expect_answers(model, "then")
    return f"statuses {statuses}"


@check(
    "concurrency.load-and-invoke",
    clauses.CONCURRENT,
    "while others are loaded, a model answers and /ping is 200 within 2 s",
)
def load_and_invoke(target: Target) -> str:
    """A load, however slow, stops nobody."""
    server = target.server()
    model = server.add()
    server.expect_answers(model, "alone")
    done = Event()
    with ThreadPoolExecutor(3) as threads:
        invocations = threads.submit(_until, done, lambda: server.invoke(model))
        pings = threads.submit(_until, done, server.ping)
        try:
            loads = [server.load(server.models.fresh(large=True)) for _ in range(_LOADS)]
        finally:
            done.set()
        invoked, pinged = invocations.result(), pings.result()
    _expect_all(loads, 200, "loads")
    _expect_all(invoked, 200, "invocations")
    _expect_all(pinged, 200, "pings")
    slowest = max(answer.seconds for answer in invoked)
    longest = max(answer.seconds for answer in loads)
    return (
        f"{len(invoked)} invocations, the slowest {slowest * 1e3:.0f} ms, "
        f"in {_LOADS} loads, the longest {longest * 1e3:.0f} ms"
    )


@check(
    "concurrency.churn",
    clauses.CONCURRENT,
    f"{_CLIENTS} clients load, invoke and unload {_ROUNDS} models each; a model that stays answers",
)
def churn(target: Target) -> str:
    """As with model caching disabled."""
    server = target.server()
    stays = server.add()
    before = set(server.listed())

    def turn(_: int) -> None:
        for _ in range(_ROUNDS):
            model = server.add()
            server.expect_answers(model, "loaded")
            server.expect_answers(stays, "the one that stays")
            answer = server.unload(model)
            expect(answer.status == 200, f"DELETE: {answer}")

    started = time.monotonic()
    _parallel(turn, range(_CLIENTS))
    seconds = time.monotonic() - started
    left = set(server.listed()) - before
    expect(not left, f"{len(left)} models are listed that were unloaded")
    return f"{_CLIENTS * _ROUNDS} models in {seconds:.1f} s"


@check("concurrency.invocations", clauses.CONCURRENT, "models that are invoked at once all answer")
def parallel_invocations(target: Target) -> str:
    """Several clients, several models."""
    server = target.server()
    models = [server.add() for _ in range(3)]

    def ask(number: int) -> Answer:
        return server.invoke(models[number % len(models)])

    started = time.monotonic()
    with ThreadPoolExecutor(_CLIENTS) as threads:
        invoked = list(threads.map(ask, range(200)))
    _expect_all(invoked, 200, "invocations")
    return f"{len(invoked) / (time.monotonic() - started):,.0f} requests per second"


def _parallel(function: Callable[[T], R], arguments: Iterable[T]) -> list[R]:
    """What it returns for each, all at the same time."""
    arguments = list(arguments)
    with ThreadPoolExecutor(len(arguments)) as threads:
        return list(threads.map(function, arguments))


def _until(done: Event, ask: Callable[[], Answer]) -> list[Answer]:
    """Ask again and again, at least once."""
    answers = [ask()]
    while not done.is_set():
        answers.append(ask())
        time.sleep(0.005)
    return answers


def _expect_all(answers: list[Answer], status: int, what: str) -> None:
    bad = [answer for answer in answers if answer.status != status]
    expect(not bad, f"{len(bad)} of {len(answers)} {what}: {bad[0] if bad else ''}")
