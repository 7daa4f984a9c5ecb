"""Metrics in a terminal's characters: bars, plots, numbers, ticks."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest

from mme_hosting.metrics.catalogue import CACHE_HIT, INVOCATIONS, LATENCY, METRICS, P99
from mme_hosting.metrics.fetch import Report, Series
from mme_hosting.metrics.terminal import bars, number, plots, ticks

NAN = math.nan


def report(minutes: int = 60, period: int = 60, **values: tuple[float, ...]) -> Report:
    first = int(datetime(2026, 1, 1, 12, 7, tzinfo=UTC).timestamp())
    begin = datetime.fromtimestamp(first // period * period, UTC)
    count = minutes * 60 // period
    times = tuple(begin + timedelta(seconds=period * n) for n in range(count))
    none = (NAN,) * count
    known = {"invocations": INVOCATIONS, "latency": LATENCY, "p99": P99, "hits": CACHE_HIT}
    given = {known[name]: each for name, each in values.items()}
    series = {metric: Series(metric, given.get(metric, none)) for metric in METRICS}
    return Report("houses", "main", times, period, series, ())


@pytest.mark.parametrize(
    ("values", "width", "expected"),
    [
        ((0, 1, 2, 4, 8), 5, "▁▂▃▅█"),
        ((1, NAN, 1), 9, "█ █"),
        ((1, 8, NAN, NAN, 4, NAN), 3, "█ ▅"),
        ((NAN, NAN), 5, "  "),
        ((0, 0), 5, "▁▁"),
        ((), 5, ""),
    ],
)
def test_bars(values, width, expected):
    assert bars(values, width) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0"), (7, "7"), (0.5, "0.5"), (12.345, "12.3"), (1234.5, "1,234"), (0.001, "<0.01")],
)
def test_numbers(value, expected):
    assert number(value) == expected


@pytest.mark.parametrize(
    ("minutes", "period", "labels"),
    [
        (5, 60, ["12:07", "12:08", "12:09", "12:10", "12:11"]),
        (60, 60, ["12:15", "12:30", "12:45", "13:00"]),
        (60 * 24, 300, ["18:00", "00:00", "06:00", "12:00"]),
        (60 * 20, 3600, ["12:00", "18:00", "00:00", "06:00"]),
    ],
)
def test_ticks_are_at_round_times(minutes, period, labels):
    made = report(minutes, period)
    places, found = ticks(made, 5)
    assert found == labels
    assert [made.times[place].strftime("%H:%M") for place in places] == labels


def test_ticks_of_several_days_have_the_date():
    assert ticks(report(60 * 24 * 3, 60), 5)[1][0] == "01-02 00:00"


def test_a_plot_has_a_gap_where_nothing_was_measured():
    values = tuple(NAN if 20 <= n < 40 else 50.0 for n in range(60))
    drawn = plots(report(hits=values), 80)
    assert "cache hits in %" in drawn
    assert "12:15" in drawn
    line = next(text for text in drawn.splitlines() if text.startswith("50┤"))
    assert "▀" * 10 in line or "▄" * 10 in line
    middle = line[len(line) // 2 - 8 : len(line) // 2 + 8]
    assert middle.strip() == ""


def test_only_what_was_measured_is_plotted():
    assert plots(report(), 80) == ""
    drawn = plots(report(invocations=(3.0,) * 60, latency=(2.0,) * 60), 80)
    assert "invocations a minute" in drawn
    assert "model latency in ms, average" in drawn
    assert "cache hits" not in drawn
    assert "p99 above it" in plots(report(latency=(2.0,) * 60, p99=(9.0,) * 60), 80)
    assert "\x1b" not in drawn


def test_one_value_is_a_plot_too():
    assert "invocations" in plots(report(1, invocations=(0.0,)), 40)
