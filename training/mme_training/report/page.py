"""The evaluation as one page of HTML that needs nothing else: no network, no other file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import numpy as np
from markupsafe import Markup

from mme_training.report import charts
from mme_training.report.collect import Evaluation, Model, Predictions, collect

NAME: Final = "report.html"
WORST: Final = 6
FEATURES: Final = 20
"""How many features have a bar; a page of all of a wide table would be nothing but bars."""
FEATURES_OF_ONE: Final = 5


def write_report(out: Path) -> Path:
    """Write `NAME` into `out`, the directory of a training of many models; return its path.

    The same directory gives the same bytes.

    Raises:
        UserError: there is no manifest in `out`, or it cannot be read.
        OSError: the page cannot be written.
    """
    page = render(collect(out, WORST))
    target = out / NAME
    partial = out / f"{NAME}.part"
    try:
        partial.write_text(page, encoding="utf-8")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def render(evaluation: Evaluation) -> str:
    """The whole page; the same evaluation gives the same text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("mme_training.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = _own("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("report.html.j2").render(
        title=f"Evaluation of {len(evaluation.trained):,} models",
        objective=evaluation.hyperparameters.get("objective"),
        metric=evaluation.metric,
        maximize=evaluation.maximize,
        linear=evaluation.linear,
        tiles=_tiles(evaluation),
        spread=_spread(evaluation),
        worst=[_card(evaluation, n, model) for n, model in enumerate(evaluation.worst)],
        importance=_importance(evaluation),
        models=_models(evaluation),
        failures=evaluation.failed,
        hyperparameters=[(name, str(value)) for name, value in evaluation.hyperparameters.items()],
        style=Markup(_own("report.css")),  # noqa: S704
        script=Markup(script),  # noqa: S704
        script_hash=f"sha256-{digest}",
    )


@dataclass(frozen=True, slots=True)
class Tile:
    """One headline figure."""

    name: str
    value: str
    note: str = ""
    alarm: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the table of models: `value` is what a number is sorted by."""

    text: str
    value: float | int | None = None
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: `share` of the longest in percent."""

    name: str
    share: float
    text: str


def _tiles(evaluation: Evaluation) -> list[Tile]:
    trained, failed = evaluation.trained, len(evaluation.failed)
    parts = [
        sum(getattr(model, f"{part}_rows") for model in trained)
        for part in ("train", "validation", "test")
    ]
    size = sum(model.size for model in trained)
    seconds = sum(model.seconds for model in (*trained, *evaluation.failed))
    versions = sorted({model.version for model in trained if model.version})
    each = duration(sum(model.seconds for model in trained) / max(len(trained), 1))
    values = _values(evaluation)
    return [
        Tile("Trained", f"{len(trained):,}"),
        Tile("Failed", f"{failed:,}", alarm=failed > 0),
        *(
            [Tile(f"Median {evaluation.metric}", number(float(np.median(values))))]
            if values.size
            else []
        ),
        Tile("Rows", f"{sum(parts):,}", "{:,} training, {:,} validation, {:,} test".format(*parts)),
        Tile("Training time", duration(seconds), f"of all together; a model {each}"),
        Tile("Archives", size_of(size), f"{size_of(size / max(len(trained), 1))} each"),
        Tile("XGBoost", ", ".join(versions) or "unknown"),
    ]


def _values(evaluation: Evaluation) -> charts.Floats:
    metric = evaluation.metric
    return np.array(
        [m.metrics[metric] for m in evaluation.trained if metric and metric in m.metrics]
    )


def _spread(evaluation: Evaluation) -> Mapping[str, Any] | None:
    values = _values(evaluation)
    if not values.size or evaluation.metric is None:
        return None
    names = {"lowest": 0.0, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "highest": 1.0}
    quantiles = [(name, number(float(np.quantile(values, q)))) for name, q in names.items()]
    figure = charts.distribution(values, evaluation.metric, "models")
    text = f"Histogram of {evaluation.metric} of {len(values):,} models: " + ", ".join(
        f"{name} {value}" for name, value in quantiles
    )
    return {"chart": charts.svg(figure, "spread", text), "quantiles": quantiles}


def _card(evaluation: Evaluation, place: int, model: Model) -> Mapping[str, Any]:
    value = model.metrics[evaluation.metric or ""]
    median = float(np.median(_values(evaluation)))
    predictions = evaluation.predictions.get(model.name)
    return {
        "name": model.key,
        "value": number(value),
        "ratio": f"{value / median:.2f}" if median > 0 and not evaluation.maximize else None,
        "rows": f"{model.train_rows:,} training rows, {model.test_rows:,} test rows",
        "charts": _charts(predictions, f"worst{place}", model.key) if predictions else [],
        "bars": _bars(model.importance or {}, FEATURES_OF_ONE),
    }


def _charts(predictions: Predictions, name: str, segment: str) -> list[Mapping[str, Any]]:
    label, predicted = predictions.label, predictions.predicted
    rows = f"of {len(label):,} test rows of {segment}"
    if predictions.kind == "probability":
        drawn = [
            ("Scores by label", charts.scores(label, predicted)),
            ("Calibration", charts.calibration(label, predicted)),
        ]
    elif predictions.kind == "score":
        drawn = [("Scores by label", charts.scores(label, predicted))]
    elif predictions.kind == "class":
        drawn = [("Rows of each class", charts.classes(label, predicted))]
    else:
        drawn = [
            ("Predicted against actual", charts.against(label, predicted)),
            ("Residuals", charts.residuals(label, predicted)),
        ]
    return [
        {"caption": caption, "svg": charts.svg(figure, f"{name}-{n}", f"{caption} {rows}")}
        for n, (caption, figure) in enumerate(drawn)
    ]


def _importance(evaluation: Evaluation) -> Mapping[str, Any] | None:
    """Each model counts the same: where labels are larger gains are too."""
    shares: dict[str, float] = {}
    known = [model.importance for model in evaluation.trained if model.importance]
    for importance in known:
        for feature, share in _shares(importance).items():
            shares[feature] = shares.get(feature, 0.0) + share / len(known)
    bars = _bars(shares, FEATURES)
    if not bars:
        return None
    what = (
        "The size of each feature's coefficient"
        if evaluation.linear
        else "The mean gain of a split by each feature"
    )
    return {
        "bars": bars,
        "note": f"{what}, as a share of the sum over all features; mean of {len(known):,} models."
        + (
            f" The first {len(bars)} of {len(shares):,} features."
            if len(bars) < len(shares)
            else ""
        ),
    }


def _shares(importance: Mapping[str, float]) -> dict[str, float]:
    total = sum(map(abs, importance.values()))
    return {name: abs(value) / total for name, value in importance.items()} if total > 0 else {}


def _bars(importance: Mapping[str, float], most: int) -> list[Bar]:
    shares = sorted(_shares(importance).items(), key=lambda item: (-item[1], item[0]))[:most]
    return [
        Bar(name, round(100 * share / shares[0][1], 2), f"{100 * share:.1f} %")
        for name, share in shares
    ]


def _models(evaluation: Evaluation) -> Mapping[str, Any] | None:
    if not evaluation.trained:
        return None
    metrics = evaluation.metrics
    columns: list[Mapping[str, Any]] = [{"name": "Model", "number": False, "sort": None}]
    columns += [
        {
            "name": name,
            "number": True,
            "sort": ("ascending" if evaluation.maximize else "descending")
            if name == evaluation.metric
            else None,
        }
        for name in (*metrics, "Rows", "Rounds", "KB", "Seconds")
    ]
    columns.append({"name": "Archive", "number": False, "sort": None})
    return {
        "columns": columns,
        "rows": [_row(model, metrics) for model in evaluation.trained],
    }


def _row(model: Model, metrics: Sequence[str]) -> list[Cell]:
    rows = model.train_rows + model.validation_rows + model.test_rows
    scores = [model.metrics.get(name) for name in metrics]
    path = model.path or ""
    return [
        Cell(model.key),
        *(Cell("") if score is None else Cell(number(score), score) for score in scores),
        Cell(f"{rows:,}", rows),
        Cell(f"{model.rounds:,}", model.rounds),
        Cell(f"{model.size / 1000:,.1f}", model.size),
        Cell(f"{model.seconds:,.2f}", round(model.seconds, 3)),
        Cell(path, link=None if "://" in path or not path else f"./{quote(path)}"),
    ]


def number(value: float) -> str:
    """Four digits or all before the point: ``0.01234``, ``12.35``, ``34,512``."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e12 else f"{value:.4g}"


def duration(seconds: float) -> str:
    """A length of time, in one or two units."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def size_of(size: float) -> str:
    """Bytes in decimal units."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size / 1000:.1f} KB"


def _own(name: str) -> str:
    return files("mme_training.report").joinpath(name).read_text(encoding="utf-8")
