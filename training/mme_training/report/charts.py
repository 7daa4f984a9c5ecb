"""Charts, and how they stand inline in a page: their text is text, their colours are the page's.

Each function but `svg` takes float64 arrays (rows,), not empty and without NaN and infinities, and
returns a figure that no global state of Matplotlib knows of.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats: TypeAlias = NDArray[np.float64]

WIDTH: Final = 360
HEIGHT: Final = 230
"""The SVG's own units, which are pixels where it is shown at its full size."""

MAX_POINTS: Final = 400
_MAX_BINS: Final = 30
_CALIBRATION_BINS: Final = 10

# Matplotlib knows no CSS variables: these stand for them until the text is written.
_INK, _GRID, _FIRST, _SECOND = "#010203", "#010204", "#010205", "#010206"
_VARIABLES: Final = {_INK: "ink", _GRID: "grid", _FIRST: "first", _SECOND: "second"}

_ID = re.compile(r' id="([^"]*)"')
_REFERENCE = re.compile(r'(xlink:href="#|url\(#)')
_FONT = re.compile(r"font-family: [^;\"]*;? ?")
_SPACE = re.compile(r"\s*\n\s*")


def svg(figure: Figure, name: str, text: str) -> Markup:
    """Draw `figure` as one ``<svg>`` element: the same figure, the same characters.

    `name` tells its ids from those of other charts in the page; `text` is what it says to those
    who do not see it.
    """
    import matplotlib as mpl

    file = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"}):
        figure.savefig(
            file,
            format="svg",
            transparent=True,
            metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")),
        )
    drawn = file.getvalue()
    drawn = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", drawn, flags=re.DOTALL)
    body = _SPACE.sub(" ", drawn[drawn.index(">", drawn.index("<svg")) + 1 :])
    used = set(re.findall(r'(?:xlink:href="#|url\(#)([^")]*)', body))
    body = _ID.sub(lambda id_: f' id="{name}-{id_[1]}"' if id_[1] in used else "", body)
    body = _FONT.sub("", _REFERENCE.sub(rf"\g<1>{name}-", body))
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, f"var(--{variable})")
    # Matplotlib escapes what it writes, and `format` what it is given.
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        'class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}'
    ).format(WIDTH, HEIGHT, text, Markup(body))  # noqa: S704


def distribution(values: Floats, name: str, counted: str) -> Figure:
    """How often each range of `values` occurs, with a line at the median."""
    axes = _axes(name, counted, whole=True)
    axes.hist(values, _edges(values), color=_FIRST)
    axes.axvline(float(np.median(values)), color=_SECOND, linewidth=1.5)
    return _figure(axes)


def residuals(actual: Floats, predicted: Floats) -> Figure:
    """How often each range of the error occurs: what was predicted less what is."""
    axes = _axes("predicted less actual", "rows", whole=True)
    errors = predicted - actual
    axes.hist(errors, _edges(errors), color=_FIRST)
    axes.axvline(0, color=_SECOND, linewidth=1.5)
    return _figure(axes)


def against(actual: Floats, predicted: Floats) -> Figure:
    """A point for each row, at most `MAX_POINTS` of them, and a line where both are equal."""
    axes = _axes("actual", "predicted")
    shown = np.linspace(0, len(actual) - 1, min(len(actual), MAX_POINTS)).astype(int)
    actual, predicted = actual[shown], predicted[shown]
    ends = [min(actual.min(), predicted.min()), max(actual.max(), predicted.max())]
    axes.plot(ends, ends, color=_SECOND, linewidth=1.5)
    axes.plot(actual, predicted, "o", color=_FIRST, markersize=4, markeredgewidth=0, alpha=0.6)
    return _figure(axes)


def scores(label: Floats, score: Floats) -> Figure:
    """How often each range of the score occurs, in rows whose label is 0 and in those of 1."""
    axes = _axes("score", "rows", whole=True)
    edges = _edges(score)
    for value, colour in ((0, _FIRST), (1, _SECOND)):
        axes.hist(score[label == value], edges, color=colour, alpha=0.65, label=f"label {value}")
    return _figure(axes, legend=True)


def calibration(label: Floats, probability: Floats) -> Figure:
    """The share of label 1 among rows of like probability; fuller bins are larger points."""
    axes = _axes("predicted probability", "share of label 1")
    bins = np.clip((probability * _CALIBRATION_BINS).astype(int), 0, _CALIBRATION_BINS - 1)
    rows = np.bincount(bins, minlength=_CALIBRATION_BINS)
    some = rows > 0
    mean = np.bincount(bins, probability, _CALIBRATION_BINS)[some] / rows[some]
    share = np.bincount(bins, label, _CALIBRATION_BINS)[some] / rows[some]
    axes.plot([0, 1], [0, 1], color=_SECOND, linewidth=1.5)
    axes.scatter(mean, share, 20 + 100 * rows[some] / rows.max(), color=_FIRST, alpha=0.8)
    axes.set(xlim=(-0.05, 1.05), ylim=(-0.08, 1.08))
    return _figure(axes)


def classes(label: Floats, predicted: Floats) -> Figure:
    """How many rows there are of each class, and how many of them were recognized."""
    axes = _axes("class", "rows", whole=True)
    names, which = np.unique(label, return_inverse=True)
    places = np.arange(len(names))
    axes.bar(places, np.bincount(which), color=_GRID, label="all")
    right = np.bincount(which, label == predicted)
    axes.bar(places, right, width=0.5, color=_FIRST, label="predicted right")
    step = -(-len(names) // 8)
    axes.set_xticks(places[::step], [f"{name:g}" for name in names[::step]])
    return _figure(axes, legend=True)


def _axes(x: str, y: str, whole: bool = False) -> Axes:
    """Empty axes with their labels; `whole`: y counts something."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72), dpi=72, layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(x, color=_INK, fontsize=12, parse_math=False)
    axes.set_ylabel(y, color=_INK, fontsize=12, parse_math=False)
    axes.tick_params(color=_GRID, labelcolor=_INK, labelsize=11, length=3)
    axes.grid(color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=whole))
    axes.xaxis.set_major_formatter(FuncFormatter(short))
    axes.yaxis.set_major_formatter(FuncFormatter(short))
    return axes


def _figure(axes: Axes, legend: bool = False) -> Figure:
    if legend:
        axes.figure.legend(
            frameon=False, labelcolor=_INK, fontsize=11, ncols=2, loc="outside upper right"
        )
    return axes.figure  # type: ignore[return-value]


def _edges(values: Floats) -> Sequence[float]:
    """The bins of a histogram; one where all values are (nearly) the same."""
    low, high = float(values.min()), float(values.max())
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        margin = max(abs(low) * 0.05, 0.5)
        return [low - margin, low - margin / 10, low + margin / 10, low + margin]
    bins = min(max(int(np.sqrt(len(values))), 5), _MAX_BINS)
    return [float(edge) for edge in np.linspace(low, high, bins + 1)]


def short(value: float, _: Any = None) -> str:
    """A number for people, in few characters: ``1.5``, ``12k``, ``3.4M``."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if size <= abs(value) / (10 if unit == "k" else 1) < size * 1e6:
            return f"{value / size:.4g}{unit}".replace("-", "\N{MINUS SIGN}")
    return f"{value:.5g}".replace("-", "\N{MINUS SIGN}")
