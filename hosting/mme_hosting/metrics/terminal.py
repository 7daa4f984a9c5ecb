"""Metrics in the characters of a terminal: plots, and small bars for a cell of a table."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, Final

from mme_hosting.metrics.catalogue import CACHE_HIT, INVOCATIONS, LATENCY, P99, Metric
from mme_hosting.metrics.fetch import Report, Series

_BARS: Final = "▁▂▃▄▅▆▇█"
_HEIGHT: Final = 10
_MINUTES: Final = (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080)
_DAY: Final = 86400


def bars(values: Sequence[float], width: int) -> str:
    """A bar for each value, from zero up; the highest of several where there is no room for all.

    A blank is where nothing was measured.
    """
    step = max(math.ceil(len(values) / width), 1)
    groups = [values[start : start + step] for start in range(0, len(values), step)]
    peaks = [max((v for v in group if not math.isnan(v)), default=math.nan) for group in groups]
    top = max((peak for peak in peaks if not math.isnan(peak)), default=0.0)
    return "".join(_bar(peak, top) for peak in peaks)


def number(value: float) -> str:
    """With as many digits as say something."""
    if 0 < value < 0.01:
        return "<0.01"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _bar(value: float, top: float) -> str:
    if math.isnan(value):
        return " "
    share = value / top if top > 0 else 0.0
    return _BARS[min(int(share * len(_BARS)), len(_BARS) - 1)]


def plots(report: Report, width: int) -> str:
    """Invocations, latency and cache hits over time, one below the other; UTC."""
    every = "minute" if report.period == 60 else f"{report.period} s"
    latency = [LATENCY, P99] if report.series[P99].known else [LATENCY]
    above = ": average, and p99 above it" if len(latency) > 1 else ", average"
    drawn = [
        _plot(report, f"invocations a {every}", [INVOCATIONS], width),
        _plot(report, f"model latency in ms{above}", latency, width),
        _plot(report, "cache hits in %", [CACHE_HIT], width),
    ]
    return "\n".join(each for each in drawn if each)


def ticks(report: Report, most: int) -> tuple[list[int], list[str]]:
    """Which periods are labelled, at round times, and how."""
    seconds = [int(at.timestamp()) for at in report.times]
    for minutes in _MINUTES:
        places = [place for place, at in enumerate(seconds) if at % (60 * minutes) == 0]
        if len(places) <= most:
            break
    style = "%m-%d %H:%M" if seconds[-1] - seconds[0] >= _DAY else "%H:%M"
    return places, [report.times[place].strftime(style) for place in places]


def _plot(report: Report, title: str, metrics: Sequence[Metric], width: int) -> str:
    import plotext

    series = [report.series[each] for each in metrics if report.series[each].known]
    if not series:
        return ""
    figure = plotext.figure
    figure.clear()
    figure.plot_size(width, _HEIGHT)
    figure.title(title)
    for each in series:
        figure.draw(_lines(figure, each))
    figure.ruler("x").lim(0, max(len(report.times) - 1, 1)).ticks(*ticks(report, width // 15))
    top = max(max(each.known) for each in series) or 1.0
    marks = [0.0, top / 2, top]
    figure.ruler("y").lim(0, top).ticks(marks, [number(mark) for mark in marks])
    return str(figure.build().string(colorless=True))


def _lines(figure: Any, series: Series) -> Any:
    """Lines between neighbours; none over a time in which nothing was measured."""
    known = [(x, y) for x, y in enumerate(series.values) if not math.isnan(y)]
    signal = figure.signal(*zip(*known, strict=True)).lines()
    for number, ((before, _), (x, _)) in enumerate(itertools.pairwise(known), 1):
        if x - before > 1:
            signal.line(number, False)
    return signal
