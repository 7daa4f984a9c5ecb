"""Loading, listing, getting and unloading models."""

from __future__ import annotations

import time

from mme_local.conformance import clauses
from mme_local.conformance.container import MIB, Container, Usage
from mme_local.conformance.models import Model
from mme_local.conformance.registry import Doubtful, Unasked, check, expect
from mme_local.conformance.server import Answer, Server
from mme_local.conformance.target import Target

_PAGED = 105
_PAGED_MEMORY = 3 << 30
_PAGED_SECONDS = 120.0
_ROUNDS = 10
_HELD = 3  # models loaded in a round
_FREE_WITHIN = 1.0  # seconds that a name may be held by a load that has failed
_SETTLE = 3.0  # seconds that memory and processes may take to go


@check("management.load", clauses.LOAD, "POST /models is 200, and the model answers at once")
def load(target: Target) -> str:
    """Ready when the call returns."""
    server = target.server()
    model = server.models.fresh()
    answer = server.load(model)
    expect(answer.status == 200, f"POST /models: {answer}")
    invoked = server.expect_answers(model, "right after the load")
    return f"loaded in {answer.seconds * 1e3:.0f} ms, answers {invoked}"


@check("management.load-twice", clauses.LOADED, "a second POST of a loaded name is 409")
def load_twice(target: Target) -> str:
    """And it does no harm."""
    server = target.server()
    model = server.add()
    answer = server.load(model)
    expect(answer.status == 409, f"the second POST: {answer}")
    server.expect_answers(model, "after the 409")
    return str(answer)


@check("management.get", clauses.GET, "GET /models/{name} has modelName and modelUrl")
def get(target: Target) -> str:
    """More fields do no harm."""
    server = target.server()
    model = server.add()
    answer = server.get(model)
    body = answer.json()
    expect(answer.status == 200 and isinstance(body, dict), f"GET: {answer}")
    expect(body.get("modelName") == model.name, f"modelName is {body.get('modelName')!r}")
    expect(body.get("modelUrl") == model.url, f"modelUrl is {body.get('modelUrl')!r}")
    return "both as they were given"


@check("management.get-unknown", clauses.GET, "GET of an unknown name is 404")
def get_unknown(target: Target) -> str:
    """Of none that was ever loaded."""
    server = target.server()
    return _expect_404(server.get(server.models.nothing()))


@check("management.unload-unknown", clauses.UNLOAD, "DELETE of an unknown name is 404")
def unload_unknown(target: Target) -> str:
    """Of none that was ever loaded."""
    server = target.server()
    return _expect_404(server.unload(server.models.nothing()))


@check("management.invoke-unknown", clauses.INVOKE, "invoke of an unknown name is 404")
def invoke_unknown(target: Target) -> str:
    """The platform loads the model then."""
    server = target.server()
    return _expect_404(server.invoke(server.models.nothing()))


@check("management.list", clauses.LIST, "GET /models names each loaded model and its URL, no other")
def listing(target: Target) -> str:
    """Names and URLs as they were given."""
    server = target.server()
    others = set(server.listed())
    models = [server.add() for _ in range(3)]
    gone = server.add()
    expect(server.unload(gone).status == 200, "a loaded model cannot be unloaded")
    listed = {name: url for name, url in server.listed().items() if name not in others}
    expected = {model.name: model.url for model in models}
    missing, more = expected.keys() - listed.keys(), listed.keys() - expected.keys()
    expect(not missing, f"{len(missing)} of 3 loaded models are not listed")
    expect(not more, f"{len(more)} models are listed that are not loaded")
    expect(listed == expected, "a modelUrl is not what was given")
    return "3 of 3"


@check(
    "management.pages",
    clauses.PAGES,
    f"{_PAGED} models are all listed once, over as many pages as it takes",
)
def pages(target: Target) -> str:
    """As many as an image has room for."""
    server = target.server()
    others = set(server.listed())
    loaded = _load_many(target, server)
    found = [str(each.get("modelName")) for page in server.pages() for each in page]
    own = [name for name in found if name not in others]
    expect(len(own) == len(set(own)), f"{len(own) - len(set(own))} models are listed twice")
    lacking = {model.name for model in loaded} - set(own)
    expect(not lacking, f"{len(lacking)} of {len(loaded)} models are not listed")
    lengths = [len(page) for page in server.pages()]
    if len(loaded) < _PAGED:
        raise Unasked(
            f"{len(loaded)} models, all listed, are as many as 3 GiB and 2 min have room for"
        )
    return f"pages of {', '.join(map(str, lengths))}"


@check("management.unload", clauses.UNLOAD, "DELETE is 200; GET, invoke and DELETE are 404 then")
def unload(target: Target) -> str:
    """And others go on."""
    server = target.server()
    model, other = server.add(), server.add()
    answer = server.unload(model)
    expect(answer.status == 200, f"DELETE: {answer}")
    _expect_404(server.get(model), "GET after it: ")
    _expect_404(server.invoke(model), "invoke after it: ")
    _expect_404(server.unload(model), "DELETE after it: ")
    server.expect_answers(other, "another model after it")
    return f"in {answer.seconds * 1e3:.0f} ms"


@check(
    "management.load-again", clauses.LOAD, "after DELETE the same name loads and answers, 5 times"
)
def load_again(target: Target) -> str:
    """The platform evicts and loads without end."""
    server = target.server()
    model = server.models.fresh()
    for number in range(1, 6):
        answer = server.load(model)
        expect(answer.status == 200, f"load {number}: {answer}")
        server.expect_answers(model, f"load {number}")
        gone = server.unload(model)
        expect(gone.status == 200, f"unload {number}: {gone}")
    return "5 of 5"


@check("management.opaque-names", clauses.OPAQUE, "two names for one directory are two models")
def opaque_names(target: Target) -> str:
    """A name is a key and says nothing of the directory."""
    server = target.server()
    model = server.add()
    twin = server.models.renamed(model)
    answer = server.load(twin)
    expect(answer.status == 200, f"the same directory under another name: {answer}")
    first, second = (server.expect_answers(each, "both loaded") for each in (model, twin))
    expect(first.content == second.content, "they answer differently")
    expect(server.unload(model).status == 200, "the first cannot be unloaded")
    server.expect_answers(twin, "the other one unloaded")
    return "both answer, and the second outlives the first"


@check(
    "management.load-missing",
    clauses.FAILED_LOAD,
    "POST of a directory that is not there is 4xx or 5xx, and leaves the name free",
)
def load_missing(target: Target) -> str:
    """What a platform does when a download went wrong."""
    server = target.server()
    return _expect_free(server, server.models.nothing())


@check(
    "management.load-unusable",
    clauses.FAILED_LOAD,
    "POST of a directory without a model is 4xx or 5xx, and leaves the name free",
)
def load_unusable(target: Target) -> str:
    """What clients do: an archive with something else in it."""
    server = target.server()
    model = server.models.empty()
    if model is None:
        raise Unasked("no directory can be made where the server loads from: leave out --models")
    return _expect_free(server, model)


@check(
    "management.memory-returns",
    clauses.RECLAIMED,
    f"after {_ROUNDS} rounds of {_HELD} loads and unloads memory is where it was",
)
def memory_returns(target: Target) -> str:
    """By `docker stats`, which counts all processes of the container."""
    before, held, after = target.once("rounds", _rounds)
    cost, growth = held.memory - before.memory, after.memory - before.memory
    text = (
        f"{before.memory / MIB:,.0f} MiB empty, {held.memory / MIB:,.0f} with {_HELD}, "
        f"{after.memory / MIB:,.0f} empty again after {_ROUNDS} rounds"
    )
    expect(growth <= max(cost / 2, 32 * MIB), text)
    return text


@check(
    "management.processes-return",
    clauses.RECLAIMED,
    f"after {_ROUNDS} rounds of {_HELD} loads and unloads there are no more processes and threads",
)
def processes_return(target: Target) -> str:
    """A few threads of a pool may come for good."""
    before, held, after = target.once("rounds", _rounds)
    text = f"{before.tasks} empty, {held.tasks} with {_HELD}, {after.tasks} after {_ROUNDS} rounds"
    expect(after.tasks <= before.tasks + _ROUNDS, text)
    return text


def _rounds(target: Target) -> tuple[Usage, Usage, Usage]:
    """What a container takes before models, with them, and after many were loaded and unloaded."""
    container = target.container()
    server = container.server
    _round(server)  # what grows once, at the first use, is none of a model's
    before = _settled(container)
    models = [server.add(large=True) for _ in range(_HELD)]
    for model in models:
        server.expect_answers(model, "loaded")
    held = container.usage()
    for model in models:
        server.unload(model)
    for _ in range(_ROUNDS - 1):
        _round(server)
    return before, held, _settled(container)


def _round(server: Server) -> None:
    models = [server.add(large=True) for _ in range(_HELD)]
    for model in models:
        server.expect_answers(model, "loaded")
        answer = server.unload(model)
        expect(answer.status == 200, f"DELETE: {answer}")


def _settled(container: Container) -> Usage:
    time.sleep(_SETTLE)
    return container.usage()


def _load_many(target: Target, server: Server) -> list[Model]:
    """As many models as there are to be, or as fit."""
    try:
        container = target.container()
    except Unasked:
        container = None
    end = time.monotonic() + _PAGED_SECONDS
    loaded: list[Model] = []
    while len(loaded) < _PAGED and time.monotonic() < end:
        model = server.models.fresh()
        answer = server.load(model)
        if answer.status != 200:
            expect(answer.status == 507, f"load {len(loaded) + 1}: {answer}")
            break
        loaded.append(model)
        full = len(loaded) % 10 == 0 and container and container.usage().memory > _PAGED_MEMORY
        if full:
            break
    return loaded


def _expect_404(answer: Answer, when: str = "") -> str:
    expect(answer.status == 404, f"{when}{answer}")
    return str(answer)


def _expect_free(server: Server, model: Model) -> str:
    """A load that cannot succeed must fail, and leave nothing of its name."""
    first = server.load(model)
    expect(400 <= first.status < 600, f"POST /models: {first}")
    return expect_free(server, model, first)


def expect_free(server: Server, model: Model, refused: Answer) -> str:
    """After a load that was refused its name must be free: no GET, no place in the list, no 409.

    Raises:
        Seen: it is not; a `Doubtful` if it is so a moment later.
    """
    started = time.monotonic()
    held = _held(server, model)
    while (at := _held(server, model)) and time.monotonic() - started < _FREE_WITHIN:
        time.sleep(0.02)
    expect(not at, f"POST: {refused}; {at}")
    if held:
        raise Doubtful(f"POST: {refused}; a moment later still {held}")
    return f"POST: {refused}; the name is free"


def _held(server: Server, model: Model) -> str:
    """By what the name is held; empty if it is free."""
    found = server.get(model)
    if found.status != 404:
        return f"GET: {found}"
    if model.name in server.listed():
        return "GET /models lists it"
    again = server.load(model)
    if again.status == 409:
        return f"the same POST again: {again}"
    if again.status == 200:  # there is room by now
        server.unload(model)
    return ""
