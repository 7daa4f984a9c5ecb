"""`mme fit`: which instances, and how many, some models and their traffic need."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mme_cli.failure import fail
from mme_cli.hosting import (
    REFUSED,
    Config,
    Json,
    Local,
    Region,
    go_local,
    open_context,
    print_json,
    reported,
)

if TYPE_CHECKING:
    from mme_hosting.fit.archives import Archives
    from mme_hosting.fit.capacity import Assumptions
    from mme_hosting.fit.measure import Kind, Measured
    from mme_hosting.fit.plan import Row, Wanted
    from mme_hosting.fit.traffic import Traffic

_USUAL = "ml.t2.medium,ml.m5.large,ml.m5.xlarge,ml.c5.large,ml.c5.xlarge"
_SHOWN = 5


def fit(
    models: Annotated[
        str | None,
        typer.Option(
            metavar="s3://…|DIR",
            help="Where the archives are, all of them [mme.yaml's models: the current versions]",
            show_default=False,
        ),
    ] = None,
    traffic: Annotated[
        Path | None,
        typer.Option(
            help="Requests as they were: .csv, .jsonl or .parquet with columns model and time, or "
            "any other file with a model's name in each line",
            show_default=False,
        ),
    ] = None,
    zipf: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Or as they may be: the k-th most popular model has a share like 1/k^ZIPF [1.1]",
            show_default=False,
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Requests a second [those of the busiest minute of --traffic]",
            show_default=False,
        ),
    ] = None,
    instance: Annotated[
        str, typer.Option(metavar="TYPE,…", help="Instance types to compare")
    ] = _USUAL,
    hit_ratio: Annotated[
        float, typer.Option(min=0, max=1, help="Share of requests that must find its model loaded")
    ] = 0.9,
    minimum: Annotated[int, typer.Option("--min", min=1, max=100, help="Instances at least")] = 1,
    sample: Annotated[
        int, typer.Option(min=1, help="Archives to load here, small and large ones")
    ] = 50,
    rows: Annotated[
        Path | None,
        typer.Option(
            help="CSV file of rows to invoke with [each archive's check.csv, or missing values]",
            show_default=False,
        ),
    ] = None,
    prices: Annotated[
        Path | None,
        typer.Option(
            help="CSV file of prices, and sizes of types that are not known: "
            "type,vcpus,memory_gib,usd_per_hour,as_of",
            show_default=False,
        ),
    ] = None,
    memory_high: Annotated[
        float,
        typer.Option(min=0.1, max=1, help="Share of its memory above which SageMaker unloads"),
    ] = 0.75,
    host_memory: Annotated[
        float,
        typer.Option(min=0, max=1024, help="GiB of an instance that SageMaker keeps for itself"),
    ] = 1.0,
    sticky: Annotated[
        bool,
        typer.Option(
            "--sticky/--spread", help="A request goes where its model is loaded, or anywhere"
        ),
    ] = True,
    config: Config = None,
    region: Region = None,
    local: Local = False,
    as_json: Json = False,
) -> None:
    """Say how many models fit on instance types, how many of them the traffic needs, and the price.

    A sample of the archives is loaded into a real server here: code that they bring is run. What
    that takes is measured, the rest is reckoned, and what is unsure of it is said.
    """
    if traffic and zipf is not None:
        fail("give --traffic or --zipf, not both")
    with reported(REFUSED), _extras():
        from mme_hosting.fit import archives as places
        from mme_hosting.fit import instances, notes, plan
        from mme_hosting.fit import traffic as requests
        from mme_hosting.fit.capacity import Assumptions
        from mme_hosting.fit.measure import measure

        types = instances.choose(_names(instance), instances.table(prices))
        archives, environment = _archives(models, config, region, local)
        played = (
            requests.read(traffic, archives.all)
            if traffic
            else requests.zipf(len(archives.all), 1.1 if zipf is None else zipf)
        )
        chosen = places.sample(archives.all, sample)
        typer.echo(_notice(archives, len(chosen)), err=True)
        with _cleaned_up(), _progress() as say:
            measured = measure(archives, chosen, rows, environment, say)
            say("playing requests")
            per_second = (played.rate or 0.0) if rate is None else rate
            wanted = plan.Wanted(per_second, hit_ratio, minimum, sticky)
            assumed = Assumptions(memory_high, int(host_memory * instances.GIB))
            costs, largest = plan.costs_of(archives.all, measured, played.unknown)
            table = plan.make_plan(types, measured, costs, largest, played, wanted, assumed)
        found = _Found(
            archives,
            measured,
            played,
            wanted,
            assumed,
            table,
            plan.cheapest(table),
            notes.notes(table, measured, played, wanted, assumed),
            sum(costs) / len(costs),
        )
    if as_json:
        print_json(found.as_json())
    else:
        _show(found)


@dataclass(frozen=True, slots=True)
class _Found:
    archives: Archives
    measured: Measured
    traffic: Traffic
    wanted: Wanted
    assumed: Assumptions
    rows: list[Row]
    cheapest: Row | None
    unsure: list[str]
    bytes_per_model: float

    def as_json(self) -> dict[str, Any]:
        measured = asdict(self.measured)
        measured["archives"] = len(measured.pop("sizes"))
        return {
            "models": {"where": self.archives.where, "count": len(self.archives.all)},
            "traffic": {
                "what": self.traffic.what,
                "requests": len(self.traffic.trace) - self.traffic.warm,
                "unknown_models": self.traffic.unknown,
            },
            "wanted": asdict(self.wanted),
            "assumed": asdict(self.assumed),
            "measured": {**measured, "bytes_per_model": self.bytes_per_model},
            "instances": [_row_as_json(row) for row in self.rows],
            "cheapest": self.cheapest.instance.name if self.cheapest else None,
            "unsure": self.unsure,
        }


def _row_as_json(row: Row) -> dict[str, Any]:
    return {
        **asdict(row.instance),
        "models": {"likely": row.models[0], "best": row.models[1]},
        "hit_ratio": {str(count): hit for count, hit in row.hits.items()},
        "hit_ratio_best": row.hits_best,
        "instances": row.instances,
        "limit": row.limit,
        "requests_per_second": row.requests_per_second,
        "usd_per_month": row.usd_per_month,
    }


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        fail("--instance names no instance type")
    return names


def _archives(
    models: str | None, config: Path | None, region: str | None, local: bool
) -> tuple[Archives, dict[str, str]]:
    """The archives, and the server's settings if an endpoint is described."""
    from mme_hosting.aws import Aws
    from mme_hosting.fit.archives import in_directory, in_s3, of_endpoint
    from mme_training import s3

    if models is None:
        context = open_context(config, local, region=region)
        return of_endpoint(context), dict(context.deployment.environment)
    if not s3.is_uri(models):
        return in_directory(Path(models)), {}
    region = go_local().region if local else region
    return in_s3(Aws(region), s3.parse(models)), {}


@contextlib.contextmanager
def _extras() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        fail(f"{error.name} is not installed: pip install 'xgboost-mme[aws,train]'")


@contextlib.contextmanager
def _cleaned_up() -> Iterator[None]:
    """End as Ctrl-C does when told to by SIGTERM: with the server, and without its files."""

    def end(number: int, _: object) -> None:
        raise typer.Exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """A line that changes, on a terminal, and nothing elsewhere."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status("") as status:
        yield status.update


def _notice(archives: Archives, count: int) -> str:
    return (
        f"loading {count:,} of the {len(archives.all):,} archives at {archives.where} into a "
        "server here; code that they bring is run"
    )


# -- For people -----------------------------------------------------------------------------------


def _show(found: _Found) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console.width = 120  # of a pipe nothing is known
    rate = f", {found.wanted.rate:,.6g} requests/s" if found.wanted.rate else ""
    title = f"{found.traffic.what}{rate}, hit ratio {found.wanted.hit_ratio:.0%}"
    console.print(escape(title), style="bold", highlight=False, soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("instance", no_wrap=True)
    for name in ("vCPU", "GiB", "models on one"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("hit ratio, by instances")
    table.add_column("instances needed")
    table.add_column("USD/month", justify="right", no_wrap=True)
    for row in found.rows:
        table.add_row(*_cells(row), style="bold green" if row is found.cheapest else None)
    console.print(table)
    if found.cheapest:
        console.print(f"cheapest: {_cheapest(found.cheapest)}", highlight=False, soft_wrap=True)
    console.print("\nmeasured here", style="bold")
    for line in _facts(found):
        console.print(f"- {escape(line)}", highlight=False, soft_wrap=True)
    console.print("\nunsure", style="bold")
    for line in found.unsure:
        console.print(f"- {escape(line)}", highlight=False, soft_wrap=True)


def _cells(row: Row) -> tuple[str, ...]:
    price = row.usd_per_month
    return (
        row.instance.name,
        str(row.instance.vcpus),
        f"{row.instance.memory / (1 << 30):g}",
        "none" if not row.models[1] else f"{row.models[0]:,} to {row.models[1]:,}",
        _hits(row),
        _needed(row),
        "-" if price is None else f"{price:,.0f}",
    )


def _hits(row: Row) -> str:
    """The hit ratio with one instance, with as many as are enough, and with one less."""
    if not row.models[0]:
        return "-"
    last = row.instances or max(row.hits)
    shown = sorted({1, last - 1, last} & set(row.hits))
    return ", ".join(f"{count}: {row.hits[count]:.1%}" for count in shown)


def _needed(row: Row) -> str:
    if row.instances is None:
        return f"not with {max(row.hits)}: {row.limit}"
    return str(row.instances) + ("" if row.limit == "minimum" else f", by {row.limit}")


def _cheapest(row: Row) -> str:
    return f"{row.instances} {row.instance.name}, {row.usd_per_month:,.0f} USD a month"


def _facts(found: _Found) -> Iterator[str]:
    measured = found.measured
    yield (
        f"the server without models: {_mb(measured.base)}; "
        f"each further process for plain models: {_mb(measured.per_host)}"
    )
    for kind, each in measured.kinds.items():
        yield from _about_kind(kind, each)
    yield (
        f"reckoned for a model, on average, with the kernel's part: {_mb(found.bytes_per_model)}"
    )
    if asked := measured.invocations:
        yield (
            f"an invocation of a row: {_ms(asked.seconds)}; {asked.cpu * 1e3:.2f} ms of CPU "
            f"({asked.requests:,} requests)"
        )
        rates = (
            f"{row.instance.name} {row.requests_per_second:,.0f}"
            for row in found.rows
            if row.requests_per_second
        )
        yield f"so requests/s that one instance answers: {', '.join(rates)}"
    else:
        yield "no invocation: no model has rows to be asked with; give --rows"
    failed = list(measured.failed.items())
    for name, reason in failed[:_SHOWN]:
        yield f"not loaded: {name}: {reason}"
    if len(failed) > _SHOWN:
        yield f"not loaded: {len(failed) - _SHOWN:,} more"


def _about_kind(kind: str, each: Kind) -> Iterator[str]:
    name = "a plain model" if kind == "plain" else "a model with code, in a process of its own"
    line = each.memory
    by_size = f" and {line.per_byte:.2f} times its model files" if line.per_byte else ""
    yield (
        f"{name}: {_mb(line.fixed)}{by_size} ({line.samples:,} loads of {each.archives:,} "
        f"archives; all together {_mb(line.spread)} off)"
    )
    yield (
        f"its load, without the download: {_ms(each.load_seconds)}; "
        f"{each.load_cpu * 1e3:.1f} ms of CPU"
    )


def _mb(amount: float) -> str:
    return f"{amount / 1e6:,.2f} MB" if amount < 1e8 else f"{amount / 1e6:,.0f} MB"


def _ms(seconds: tuple[float, float]) -> str:
    return f"{seconds[0] * 1e3:.1f} ms (9 of 10 below {seconds[1] * 1e3:.1f} ms)"
