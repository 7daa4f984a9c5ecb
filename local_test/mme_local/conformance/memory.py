"""A container whose memory is limited, loaded until it is full: 507, and life goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from mme_local.conformance import clauses
from mme_local.conformance.container import MIB, Container
from mme_local.conformance.management import expect_free
from mme_local.conformance.models import Model
from mme_local.conformance.registry import Doubtful, Seen, Unasked, check, expect
from mme_local.conformance.server import Answer, NoAnswer, Server
from mme_local.conformance.target import Target

_LOADS = 3000
_SECONDS = 300.0
_EXCHANGES = 10
_PAUSE = 1.0  # seconds between unload and load, in the first half of the exchanges
_UNLOADS = 3  # how many may have to go for one to come


@dataclass
class _Filled:
    """What was seen of a container that was filled."""

    loaded: list[Model] = field(default_factory=list)
    refused: Answer | None = None
    """The first load that was not 200; None if it was never answered."""
    reason: str = ""
    """Why it was not."""
    name: Seen | str = "not reached"
    """Whether the refused name was free."""
    others: Seen | str = "not reached"
    """Whether the loaded models went on to answer."""
    room: Seen | str = "not reached"
    """Whether a load succeeded after an unload."""
    end: Seen | str = "not reached"
    """Whether the kernel left all processes alone."""


@check("memory.507", clauses.FULL, "loading until the container is full ends in 507")
def refused_with_507(target: Target) -> str:
    """Only 507 makes the platform unload others."""
    filled = target.once("filled", _fill)
    count = f"after {len(filled.loaded)} models in {target.memory / MIB:,.0f} MiB"
    if filled.refused is None:
        raise Seen(f"{count}: {filled.reason}")
    expect(filled.refused.status == 507, f"{count}: {filled.refused}")
    return f"{count}: {filled.refused}"


@check(
    "memory.name-free",
    clauses.FAILED_LOAD,
    "the refused name is free: GET is 404, and another POST is not 409",
)
def name_is_free(target: Target) -> str:
    """The platform tries the same name again."""
    return _told(target.once("filled", _fill).name)


@check("memory.others-answer", clauses.FULL, "the models that are loaded go on to answer")
def others_answer(target: Target) -> str:
    """Nothing was evicted to make room."""
    return _told(target.once("filled", _fill).others)


@check(
    "memory.room-after-unload",
    clauses.FULL,
    f"a load is 200 and answers after at most {_UNLOADS} unloads, {_EXCHANGES} times over",
)
def room_after_unload(target: Target) -> str:
    """The platform's whole way to make room."""
    return _told(target.once("filled", _fill).room)


@check("memory.no-oom-kill", clauses.FULL, "the kernel ends no process for memory")
def no_oom_kill(target: Target) -> str:
    """What the kernel ends has a victim of its choice."""
    return _told(target.once("filled", _fill).end)


def _told(what: Seen | str) -> str:
    if isinstance(what, Seen):
        raise what
    if what == "not reached":
        raise Unasked("the container was not filled by a load that was refused: see memory.507")
    return what


def _fill(target: Target) -> _Filled:
    filled = _Filled()
    with target.start(mem_limit=target.memory, memswap_limit=target.memory) as container:
        server = container.server
        try:
            model, answer = _load_until_full(server, filled.loaded)
            filled.refused = answer
            filled.name = _seen(lambda: expect_free(server, model, answer))
            filled.others = _seen(lambda: _ask_all(server, filled.loaded))
            filled.room = _seen(lambda: _exchange(server, list(filled.loaded)))
        except NoAnswer as error:
            filled.reason = str(error)
            filled.others = _seen(lambda: _ask_all(server, filled.loaded))
        filled.end = _seen(lambda: _expect_alive(container))
    return filled


def _load_until_full(server: Server, loaded: list[Model]) -> tuple[Model, Answer]:
    """Load; return the model that was refused, and how."""
    end = time.monotonic() + _SECONDS
    while len(loaded) < _LOADS and time.monotonic() < end:
        model = server.models.fresh(large=True)
        answer = server.load(model)
        if answer.status != 200:
            return model, answer
        loaded.append(model)
    raise Unasked(
        f"{len(loaded)} models in {_SECONDS:.0f} s do not fill it: give a lower --memory, "
        "or larger --models"
    )


def _ask_all(server: Server, models: list[Model]) -> str:
    answers = [server.invoke(model) for model in models]
    bad = [answer for answer in answers if answer.status != 200]
    expect(not bad, f"{len(bad)} of {len(answers)} do not: {bad[0] if bad else ''}")
    return f"{len(answers)} of {len(answers)}"


def _exchange(server: Server, loaded: list[Model]) -> str:
    """Unload and load in turn, as the platform does with more models than fit."""
    most = 0
    for number in range(1, _EXCHANGES + 1):
        model = server.models.fresh(large=True)
        for unloads in range(1, _UNLOADS + 1):
            if not loaded:
                raise Doubtful(f"load {number}: no model is left to unload")
            gone = server.unload(loaded.pop(0))
            expect(gone.status == 200, f"DELETE: {gone}")
            if number <= _EXCHANGES // 2:  # a load comes after a download, or at once
                time.sleep(_PAUSE)
            answer = server.load(model)
            most = max(most, unloads)
            if answer.status != 507:
                break
        expect(answer.status == 200, f"load {number}, after {unloads} unloads: {answer}")
        server.expect_answers(model, f"load {number}")
        loaded.append(model)
    return f"{_EXCHANGES} of {_EXCHANGES}, at most {most} unloaded for one"


def _expect_alive(container: Container) -> str:
    kills, state = container.oom_kills(), container.state
    expect(not kills and not state["OOMKilled"], f"{max(kills, 1)} times: {container.log(160)}")
    expect(state["Running"], f"it ended with status {state['ExitCode']}")
    return "none"


def _seen(look: Callable[[], str]) -> Seen | str:
    try:
        return look()
    except Seen as error:
        return error
