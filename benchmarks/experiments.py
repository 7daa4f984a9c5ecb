"""The experiments. Each starts servers of its own and returns rows of the table.

Times are taken on both servers in turn, so that whatever else the machine does hits both. Memory
is taken with one server running alone, because two would share the pages of their libraries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Sample, latencies, pss_mib, timed_check
from benchmarks.models import Code, Model, write_models
from benchmarks.ours import ours
from benchmarks.report import Row, row
from benchmarks.server import Server
from benchmarks.stock.server import stock
from benchmarks.throughput import CONNECTIONS, requests_per_second

SIDES = ("stock", "ours")
# Stock MMS imports a model's code from the model's own folder, we from code/ as SageMaker packs it.
PLACE_OF_CODE: dict[str, Code] = {"stock": "beside", "ours": "folder"}
WARM_UP_MODELS = 4  # what the first models cost (libraries, pools) is not what a further one costs
WARM_UP_ROUNDS = 10
MS = 1e3


@dataclass(frozen=True)
class Settings:
    """How much to measure."""

    sides: Sequence[str]
    loads: int
    rounds: int
    requests: int
    seconds: int
    stock_memory_models: int
    memory_models: int
    memory_coded_models: int
    scale_models: int
    scale_loads: int
    silent_stock: bool


@dataclass(frozen=True)
class Bench:
    """What every experiment needs."""

    settings: Settings
    scratch: Path
    say: Callable[[str], None]

    @contextmanager
    def servers(self) -> Iterator[dict[str, Server]]:
        """Run the servers of all sides at once."""
        with ExitStack() as stack:
            yield {side: stack.enter_context(self.server(side)) for side in self.settings.sides}

    def server(self, side: str) -> AbstractContextManager[Server]:
        """Run the server of one side."""
        if side == "stock":
            return stock(self.scratch, self.settings.silent_stock)
        return ours(self.scratch)

    def models(self, kind: str, count: int, code: Code = "none") -> list[Model]:
        """Write models for one experiment."""
        return write_models(self.scratch, kind, count, code)


def _turns(servers: dict[str, Server], rounds: int) -> Iterator[tuple[str, Server]]:
    """Give every server its turn in each round, in an order that swaps from round to round."""
    for number in range(rounds):
        yield from list(servers.items())[:: -1 if number % 2 else 1]


def _load_all(server: Server, models: Sequence[Model]) -> None:
    for model in models:
        server.load(model)
        server.check(model)


def _loads(bench: Bench, key: str, title: str, *, coded: bool) -> list[Row]:
    count = bench.settings.loads
    posts: dict[str, list[float]] = {side: [] for side in bench.settings.sides}
    answers: dict[str, list[float]] = {side: [] for side in bench.settings.sides}
    models = {
        side: bench.models(
            f"{key}-{side}", WARM_UP_MODELS + count, PLACE_OF_CODE[side] if coded else "none"
        )
        for side in bench.settings.sides
    }
    with bench.servers() as servers:
        for side, server in servers.items():
            _load_all(server, models[side][:WARM_UP_MODELS])
        for side, server in _turns(servers, count):
            model = models[side][WARM_UP_MODELS + len(posts[side])]
            posts[side].append(server.load(model))
            answers[side].append(posts[side][-1] + timed_check(server, model))
    samples = {side: Sample.of(values, MS) for side, values in posts.items()}
    until_answer = {side: Sample.of(values, MS) for side, values in answers.items()}
    return [
        row(key, f"cold load, {title}", "ms", samples),
        row(f"{key}-answer", "the same with a first prediction", "ms", until_answer),
    ]


def load(bench: Bench) -> list[Row]:
    """Time ``POST /models`` for plain models."""
    return _loads(bench, "load", "plain model", coded=False)


def load_code(bench: Bench) -> list[Row]:
    """Time ``POST /models`` for models that bring an ``inference.py``."""
    return _loads(bench, "load-code", "model with code", coded=True)


def _memory(bench: Bench, key: str, title: str, our_models: int, *, coded: bool) -> list[Row]:
    counts = {"stock": bench.settings.stock_memory_models, "ours": our_models}
    samples = {}
    for side in bench.settings.sides:
        further, code = counts[side], PLACE_OF_CODE[side] if coded else "none"
        models = bench.models(f"{key}-{side}", WARM_UP_MODELS + further, code)
        with bench.server(side) as server:
            _load_all(server, models[:WARM_UP_MODELS])
            before = pss_mib(server)
            _load_all(server, models[WARM_UP_MODELS:])
            after = pss_mib(server)
        bench.say(f"{key}, {side}: {before:,.0f} MiB, with {further:,} models more {after:,.0f}")
        samples[side] = Sample((after - before) / further, further)
    return [row(key, f"memory per further {title}", "MiB", samples)]


def memory(bench: Bench) -> list[Row]:
    """Weigh plain models."""
    count = bench.settings.memory_models
    return _memory(bench, "memory", "plain model", count, coded=False)


def memory_code(bench: Bench) -> list[Row]:
    """Weigh models that bring an ``inference.py``."""
    count = bench.settings.memory_coded_models
    return _memory(bench, "memory-code", "model with code", count, coded=True)


def latency(bench: Bench) -> list[Row]:
    """Time single rows on one connection."""
    model = bench.models("latency", 1)[0]
    taken: dict[str, list[float]] = {side: [] for side in bench.settings.sides}
    with bench.servers() as servers:
        for server in servers.values():
            _load_all(server, [model])
            # Java compiles what it has run often: that takes some thousand requests to settle.
            latencies(server, model, WARM_UP_ROUNDS * bench.settings.requests)
        for side, server in _turns(servers, bench.settings.rounds):
            taken[side] += latencies(server, model, bench.settings.requests)
    samples = {side: Sample.of(values, MS) for side, values in taken.items()}
    return [row("latency", "warm single row, 1 connection", "ms", samples)]


def throughput(bench: Bench) -> list[Row]:
    """Count requests per second on several connections over four models."""
    models, seconds = bench.models("throughput", 4), bench.settings.seconds
    rates: dict[str, list[float]] = {side: [] for side in bench.settings.sides}
    with bench.servers() as servers:
        for server in servers.values():
            _load_all(server, models)
            requests_per_second(server, models, seconds, bench.scratch)
        for side, server in _turns(servers, bench.settings.rounds):
            rates[side].append(requests_per_second(server, models, seconds, bench.scratch))
    samples = {side: Sample.of(values) for side, values in rates.items()}
    title = f"{CONNECTIONS} connections over {len(models)} models"
    return [row("throughput", title, "requests/s", samples, more_is_better=True)]


def _passing_loads(server: Server, models: Sequence[Model]) -> Sample:
    """Time loads that are undone at once, so that the number of loaded models stays."""
    taken = []
    for model in models:
        taken.append(server.load(model))
        server.check(model)
        server.unload(model)
    return Sample.of(taken, MS)


def scale(bench: Bench) -> list[Row]:
    """Load thousands of models at once, ask every one, and time loads among them."""
    few, many = min(10, bench.settings.scale_models), bench.settings.scale_models
    if "ours" not in bench.settings.sides:
        return []
    models = bench.models("scale", many)
    passing = bench.models("passing", bench.settings.scale_loads)
    with ours(bench.scratch) as server:
        _load_all(server, models[:few])
        among_few = _passing_loads(server, passing)
        for number in range(few, many):
            server.load(models[number])
            if (number + 1) % 500 == 0:
                bench.say(f"scale: {number + 1:,} models loaded")
        among_many = _passing_loads(server, passing)
        for model in models:
            server.check(model)
        bench.say(f"scale: {many:,} models answered right, {pss_mib(server):,.0f} MiB in all")
    growth, ratio_of = among_many.median / among_few.median, f"with {many:,} / with {few}"
    return [
        Row("scale", "models loaded, all answer right", "", None, Sample(many, 1), None),
        Row("load-few", f"cold load with {few} loaded", "ms", None, among_few, None),
        Row(
            "load-many", f"cold load with {many:,} loaded", "ms", None, among_many, growth, ratio_of
        ),
    ]


EXPERIMENTS: dict[str, Callable[[Bench], list[Row]]] = {
    "load": load,
    "load-code": load_code,
    "memory": memory,
    "memory-code": memory_code,
    "latency": latency,
    "throughput": throughput,
    "scale": scale,
}
