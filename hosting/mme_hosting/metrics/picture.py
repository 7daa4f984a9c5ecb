"""Metrics as a picture, for a page or a message."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from datetime import UTC
from typing import Any, Final

import numpy as np

from mme_hosting.metrics.catalogue import (
    CACHE_HIT,
    CLIENT_ERRORS,
    CPU,
    INVOCATIONS,
    LATENCY,
    LOADED,
    MEMORY,
    OVERHEAD,
    P50,
    P99,
    SERVER_ERRORS,
    Metric,
)
from mme_hosting.metrics.fetch import Report

_BLUE, _ORANGE, _RED, _GREEN, _GREY = "#2463a6", "#d07a1f", "#b3282d", "#2c8a57", "#6b7680"
_SIZE: Final = (10.0, 11.0)  # inches
_DPI: Final = 120
_ABOVE: Final = 1.05  # of the highest value
_Drawn = Sequence[tuple[Metric, str, str]]


def draw(report: Report) -> bytes:
    """A PNG: requests, latency, cache hits, loaded models and utilization, one below the other.

    Times are UTC. A line has a gap where nothing was measured.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, dpi=_DPI, layout="constrained")
    requests, latency, cache, loaded, used = figure.subplots(5, 1, sharex=True)
    span = f"{report.times[0]:%Y-%m-%d %H:%M} to {report.end:%Y-%m-%d %H:%M} UTC"
    figure.suptitle(f"{report.endpoint}, variant {report.variant}: {span}", fontsize=13)
    every = "minute" if report.period == 60 else f"{report.period} s"
    _bars(requests, report)
    _finish(requests, f"requests a {every}")
    _lines(
        latency,
        report,
        [
            (LATENCY, "model, average", _BLUE),
            (P50, "model, p50", _GREEN),
            (P99, "model, p99", _RED),
            (OVERHEAD, "overhead, average", _GREY),
        ],
    )
    _finish(latency, "latency, ms")
    _lines(cache, report, [(CACHE_HIT, "model was loaded", _GREEN)])
    _finish(cache, "cache hits, % of requests", 105)
    _lines(loaded, report, [(LOADED, "loaded models", _BLUE)])
    _finish(loaded, "loaded models, average of the instances")
    _lines(used, report, [(CPU, "CPU", _ORANGE), (MEMORY, "memory", _BLUE)])
    _finish(used, "utilization, % (CPU: 100 % is one)")
    _label_times(used, report)
    written = io.BytesIO()
    figure.savefig(written, format="png")
    return written.getvalue()


def _bars(axes: Any, report: Report) -> None:
    """Requests by what came of them, one on top of the other."""
    width = report.period / 86400 * 0.9  # matplotlib counts in days
    total, client, server = (
        np.nan_to_num(report.series[metric].values)
        for metric in (INVOCATIONS, CLIENT_ERRORS, SERVER_ERRORS)
    )
    parts = (
        (server, "5xx", _RED),
        (client, "4xx", _ORANGE),
        (total - client - server, "answered", _BLUE),
    )
    below = np.zeros_like(total)
    for values, label, colour in parts:
        if values.any():
            axes.bar(report.times, values, width, below, align="edge", color=colour, label=label)
        below = below + values


def _lines(axes: Any, report: Report, drawn: _Drawn) -> None:
    for metric, label, colour in drawn:
        series = report.series[metric]
        if not series.known:
            continue
        axes.plot(report.times, series.values, color=colour, label=label, linewidth=1.6)
        alone = _alone(series.values)
        times = [at for at, is_alone in zip(report.times, alone, strict=True) if is_alone]
        values = [each for each, is_alone in zip(series.values, alone, strict=True) if is_alone]
        axes.plot(times, values, ".", color=colour)


def _alone(values: Sequence[float]) -> list[bool]:
    """Which values have no neighbour that a line could lead to."""
    around = (math.nan, *values, math.nan)
    return [
        not math.isnan(value) and math.isnan(before) and math.isnan(after)
        for before, value, after in zip(around, values, around[2:], strict=False)
    ]


def _finish(axes: Any, label: str, top: float | None = None) -> None:
    axes.set_title(label, loc="left", fontsize=11)
    axes.grid(axis="y", color="#e3e7ea", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if not axes.has_data():
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", color=_GREY)
        axes.set_yticks([])
        return
    axes.set_ylim(0, top or axes.get_ylim()[1] * _ABOVE)
    axes.yaxis.set_major_formatter("{x:,g}")
    if len(axes.get_legend_handles_labels()[0]) > 1:
        above = {"loc": "lower right", "bbox_to_anchor": (1, 0.98), "ncols": 4}
        axes.legend(**above, frameon=False, fontsize=9)


def _label_times(axes: Any, report: Report) -> None:
    import matplotlib.dates

    dates: Any = matplotlib.dates  # not typed
    locator = dates.AutoDateLocator(tz=UTC, minticks=4, maxticks=10)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, tz=UTC))
    axes.set_xlim(report.times[0], report.end)
    axes.set_xlabel("UTC")
