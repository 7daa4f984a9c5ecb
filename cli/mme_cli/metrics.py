"""`mme metrics`: what CloudWatch has measured of an endpoint, as a table, plots or a picture."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mme_cli.failure import fail
from mme_cli.hosting import (
    FAILED,
    REFUSED,
    Config,
    Json,
    Local,
    Name,
    Region,
    open_context,
    print_json,
    reported,
)

if TYPE_CHECKING:
    from mme_hosting.metrics.fetch import Report, Series

_OTHERS = 64  # characters of the table without its bars
_BARS = (10, 60)
_NARROWEST = 40


def metrics(
    since: Annotated[str, typer.Option(help="How far back: 30m, 2h, 7d")] = "1h",
    period: Annotated[int, typer.Option(help="Seconds that each value is about")] = 60,
    png: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a picture to a file", show_default=False),
    ] = None,
    plot: Annotated[
        bool | None,
        typer.Option("--plot/--no-plot", help="Plots too [on a terminal]", show_default=False),
    ] = None,
    config: Config = None,
    local: Local = False,
    region: Region = None,
    name: Name = None,
    as_json: Json = False,
) -> None:
    """Show what CloudWatch has measured of the endpoint: traffic, latency, models, instances.

    Times are UTC. Values are those of a period: averages and highest values are of those.
    """
    if png and not png.absolute().parent.is_dir():
        fail(f"{png.absolute().parent} is no directory: the picture could not be written")
    with reported(REFUSED):
        from mme_hosting.logs import seconds
        from mme_hosting.metrics.catalogue import INVOCATIONS
        from mme_hosting.metrics.fetch import fetch

        back = seconds(since)
        report = fetch(open_context(config, local, name=name, region=region), back, period)
    if not report.series[INVOCATIONS].known:
        typer.echo(_nothing(since), err=True)
    if png:
        _write(png, report)
    if as_json:
        print_json(_as_json(report))
    elif not report.empty:
        _show(report, sys.stdout.isatty() if plot is None else plot)
    for note in report.notes:
        typer.echo(f"note: {note}", err=True)


def _nothing(since: str) -> str:
    return (
        f"CloudWatch knows of no request in the last {since}: values come about a minute after a "
        "request, and an endpoint without traffic has none"
    )


def _write(file: Path, report: Report) -> None:
    try:
        from mme_hosting.metrics.picture import draw

        picture = draw(report)
    except ModuleNotFoundError as error:
        fail(f"{error.name} is not installed: pip install 'xgboost-mme[report]'")
    try:
        file.write_bytes(picture)
    except OSError as error:
        typer.echo(f"mme: {file} cannot be written: {error.strerror}", err=True)
        raise typer.Exit(FAILED) from None
    typer.echo(f"wrote {file}", err=True)


def _show(report: Report, plot: bool) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from mme_hosting.metrics.terminal import bars, plots

    span = f"{report.times[0]:%Y-%m-%d %H:%M} to {report.end:%Y-%m-%d %H:%M} UTC"
    title = f"{report.endpoint}, variant {report.variant}, {span}, periods of {report.period} s"
    console = Console()
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("metric", no_wrap=True)
    table.add_column("unit")
    for column in ("last", "average", "max", "total"):
        table.add_column(column, justify="right")
    table.add_column("over time", no_wrap=True)
    for series in report.series.values():
        table.add_row(
            series.metric.title,
            series.metric.unit,
            *(_number(value) for value in _summary(series).values()),
            bars(series.values, min(max(console.width - _OTHERS, _BARS[0]), _BARS[1])),
        )
    console.print(table)
    if plot:
        typer.echo("\n" + plots(report, max(console.width, _NARROWEST)))


def _summary(series: Series) -> dict[str, float | None]:
    known = series.known
    if not known:
        return dict.fromkeys(("last", "average", "maximum", "total"))
    return {
        "last": known[-1],
        "average": sum(known) / len(known),
        "maximum": max(known),
        "total": sum(known) if series.metric.counts else None,
    }


def _number(value: float | None) -> str:
    from mme_hosting.metrics.terminal import number

    return "" if value is None else number(value)


def _as_json(report: Report) -> dict[str, Any]:
    times = [at.isoformat() for at in report.times]
    return {
        "endpoint": report.endpoint,
        "variant": report.variant,
        "start": times[0],
        "end": report.end.isoformat(),
        "period_seconds": report.period,
        "metrics": [
            {
                "name": series.metric.name,
                "statistic": series.metric.statistic,
                "unit": series.metric.unit or "count",
                **_summary(series),
                "points": [
                    {"time": at, "value": value}
                    for at, value in zip(times, series.values, strict=True)
                    if not math.isnan(value)
                ],
            }
            for series in report.series.values()
        ],
        "notes": report.notes,
    }
