"""What a training of many models left behind, as far as its page needs it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mme_training.errors import UserError
from mme_training.hyperparameters.parse import parse
from mme_training.hyperparameters.values import Hyperparameters
from mme_training.many.manifest import MANIFEST, PLAN, PREDICTIONS
from mme_training.metrics import classes, is_maximized

Floats: TypeAlias = NDArray[np.float64]
Kind: TypeAlias = Literal["number", "probability", "score", "class"]

_PARTS: Final = ("test-", "validation-", "train-")
_DEFAULT: Final = "reg:squarederror"


@dataclass(frozen=True, slots=True)
class Model:
    """A row of the manifest, whose columns say what is what."""

    key: str
    name: str
    train_rows: int
    validation_rows: int
    test_rows: int
    rounds: int
    path: str | None
    size: int
    seconds: float
    version: str
    attempts: int
    error: str | None
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Those that are finite."""
    importance: Mapping[str, float] | None = None


_COLUMNS: Final = [
    column.name for column in fields(Model) if column.name not in ("metrics", "importance")
]


@dataclass(frozen=True, slots=True)
class Predictions:
    """The test rows of one model; both arrays are (rows,), finite and not empty."""

    kind: Kind
    """What is predicted: a number, the probability or a score of label 1, or a class."""
    label: Floats
    predicted: Floats


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that the page shows."""

    trained: Sequence[Model]
    """The worst first; those without `metric` last."""
    failed: Sequence[Model] = ()
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    """As they were given."""
    metrics: Sequence[str] = ()
    """All that the models have, those of test rows first."""
    metric: str | None = None
    """The one of them that models are judged by; None if there is none."""
    maximize: bool = False
    """Whether more of `metric` is better."""
    linear: bool = False
    """Whether the models are linear, and so the importance of a feature is its coefficient."""
    worst: Sequence[Model] = ()
    """The worst first; all of them have `metric`."""
    predictions: Mapping[str, Predictions] = field(default_factory=dict)
    """By name of a model in `worst`."""


def collect(out: Path, most: int) -> Evaluation:
    """Read the tables in `out`; the worst models are half of all, but not more than `most`.

    Raises:
        UserError: there is no manifest, or a table cannot be read.
    """
    file = out / MANIFEST
    if not file.is_file():
        raise UserError(f"there is no {MANIFEST} in {out}: give where `mme train many` wrote to")
    with _explained(file):
        table = _read(file)
        metrics = [n for part in _PARTS for n in table.column_names if n.startswith(part)]
        models = [_model(row, metrics) for row in table.to_pylist()]
        plan = json.loads((table.schema.metadata or {}).get(PLAN, b"{}"))
        given: dict[str, Any] = plan.get("hyperparameters", {})
    checked = parse(given) if given else Hyperparameters({}, 0)
    metric = _judge(metrics, checked)
    maximize = metric is not None and is_maximized(metric.partition("-")[2])
    trained = sorted(
        (model for model in models if model.error is None),
        key=lambda model: _goodness(model, metric, maximize),
    )
    judged = [model for model in trained if metric in model.metrics]
    worst = judged[: min(most, -(-len(judged) // 2))]
    return Evaluation(
        trained,
        [model for model in models if model.error is not None],
        given,
        metrics,
        metric,
        maximize,
        checked.booster.get("booster") == "gblinear",
        worst,
        _predictions(out / PREDICTIONS, worst, checked.booster.get("objective", _DEFAULT)),
    )


def _model(row: Mapping[str, Any], metrics: Sequence[str]) -> Model:
    importance = row["importance"]
    return Model(
        **{name: row[name] for name in _COLUMNS},
        metrics={n: row[n] for n in metrics if row[n] is not None and math.isfinite(row[n])},
        importance=None if importance is None else dict(importance),
    )


def _judge(metrics: Sequence[str], hyperparameters: Hyperparameters) -> str | None:
    """The metric that stops training early, the last that was asked for, on the best rows for it.

    Training jobs of SageMaker log none of test rows.
    """
    for part in ("test-", "validation-"):
        of_part = [name for name in metrics if name.startswith(part)]
        asked = [part + name for name in hyperparameters.eval_metric if part + name in of_part]
        if of_part:
            return (asked or of_part)[-1]
    return None


def _goodness(model: Model, metric: str | None, maximize: bool) -> tuple[float, str]:
    value = model.metrics.get(metric or "")
    if value is None:
        return math.inf, model.key
    return value if maximize else -value, model.key


def _predictions(file: Path, models: Sequence[Model], objective: str) -> dict[str, Predictions]:
    if not models or not file.is_file():
        return {}
    names = [model.name for model in models]
    with _explained(file):
        table = _read(file, [("segment", "in", names)])
        if not table.num_rows:
            return {}
        segments = table.column("segment").to_numpy()
        label = table.column("label").to_numpy().astype(np.float64)
        column = table.column("prediction").combine_chunks()
        lists = pa.types.is_fixed_size_list(column.type)
        predicted = (column.flatten() if lists else column).to_numpy().astype(np.float64)
    kind, predicted = _meaning(predicted.reshape(len(label), -1), objective)
    good = np.isfinite(label) & np.isfinite(predicted)
    rows = {name: good & (segments == name) for name in names}
    return {
        name: Predictions(kind, label[some], predicted[some])
        for name, some in rows.items()
        if some.any()
    }


def _meaning(predicted: Floats, objective: str) -> tuple[Kind, Floats]:
    """What predictions (rows, outputs) are, and one of them for each row."""
    if objective in ("binary:logistic", "binary:logitraw"):
        return "probability" if objective == "binary:logistic" else "score", predicted[:, 0]
    if objective.startswith(("multi:", "binary:")):
        several = predicted if predicted.shape[1] > 1 else predicted[:, 0]
        return "class", classes(several.astype(np.float32), objective).astype(np.float64)
    # Of several quantiles the one in the middle.
    return "number", predicted[:, predicted.shape[1] // 2]


def _read(file: Path, filters: Any = None) -> pa.Table:
    # A directory called day=1 would otherwise be taken for a column.
    return pq.read_table(file, filters=filters, partitioning=None)


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{file} is not as `mme train many` writes it: {error}") from error
