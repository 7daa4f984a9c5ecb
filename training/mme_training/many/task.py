"""One segment in this process: its rows, its split, its model, its archive.

Below `plan.out` a segment leaves ``archives/<name>.tar.gz`` and ``evaluations/<fingerprint>.arrow``
(see `mme_training.many.evaluation`). Each appears only once it is whole.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import xgboost as xgb

from mme_training.archives.check import write_check
from mme_training.archives.pack import CHECK_NAME, MODEL_NAME, pack
from mme_training.data.dataset import Dataset, Floats
from mme_training.device import check_device
from mme_training.errors import TrainingError, UserError
from mme_training.fit import Fitted, Metric, custom_metric, explain, fit
from mme_training.hyperparameters.combinations import objective_of
from mme_training.hyperparameters.parse import parse
from mme_training.hyperparameters.values import Hyperparameters
from mme_training.many.evaluation import write_evaluation
from mme_training.many.layout import archive_file, evaluation_file, scratch_directory
from mme_training.many.segments import rows_of
from mme_training.many.table import numbers
from mme_training.many.work import Plan, Record, Segment
from mme_training.split import split

_LEAST_ROWS: Final = 3
_TYPES: Final = {"b": "i", "i": "int", "u": "int", "f": "float"}


def train_segment(plan: Plan, segment: Segment, fingerprint: str) -> Record:
    """Train, judge and pack one model, on one thread; what goes wrong is in the record."""
    begin = time.perf_counter()
    try:
        record = _train(plan, segment, fingerprint)
    except xgb.core.XGBoostError as error:
        record = Record(segment.name, fingerprint, error=str(explain(error)))
    except TrainingError as error:
        record = Record(segment.name, fingerprint, error=str(error))
    except Exception as error:
        record = Record(segment.name, fingerprint, error=f"{type(error).__name__}: {error}")
    return replace(record, seconds=time.perf_counter() - begin, version=xgb.__version__)


def read_segment(plan: Plan, segment: Segment) -> pd.DataFrame:
    """The segment's rows: the label, then the features, in the order of the table.

    Text columns come as categories, those that the segment has, in alphabetical order.

    Raises:
        UserError: a label is missing, infinite or text.
    """
    rows = rows_of(segment)
    if pa.types.is_large_string(rows.schema.field(plan.label).type):
        label = pa.chunked_array([_numeric(plan.label, rows.column(plan.label))])
        rows = rows.set_column(rows.schema.get_field_index(plan.label), plan.label, label)
    for place, field in enumerate(rows.schema):
        nulls = rows.column(place).null_count
        # pandas would make objects of the bools, and XGBoost takes no category without values.
        empty = pa.types.is_large_string(field.type) and nulls == len(rows)
        if empty or (pa.types.is_boolean(field.type) and nulls):
            rows = rows.set_column(place, field.name, rows.column(place).cast(pa.float32()))
    frame: pd.DataFrame = rows.select([plan.label, *plan.features]).to_pandas(use_threads=False)
    with np.errstate(over="ignore"):  # beyond float32 is infinite
        bad = int((~np.isfinite(frame[plan.label].to_numpy(np.float32))).sum())
    if bad:
        raise UserError(f"{bad} of {len(frame)} rows have no finite label {plan.label!r}")
    texts = [field.name for field in rows.schema if pa.types.is_large_string(field.type)]
    return frame.astype(dict.fromkeys(texts, "category")) if texts else frame


def _numeric(name: str, column: pa.ChunkedArray) -> pa.Array:
    texts = column.to_pylist()
    for row, text in numbers(texts):
        raise UserError(
            f"row {row + 1} of {len(texts)} has the label {text!r}; {name!r} is a number"
        )
    return pa.array([float(text or "nan") for text in texts], pa.float64())


def _train(plan: Plan, segment: Segment, fingerprint: str) -> Record:
    if segment.rows < _LEAST_ROWS:
        raise UserError(
            f"{segment.rows} row{'s'[: segment.rows > 1]} cannot be split into rows to learn from, "
            f"to stop by and to judge by: {_LEAST_ROWS} are the least"
        )
    hyperparameters = parse(plan.hyperparameters)
    check_device(hyperparameters)
    frame = read_segment(plan, segment)
    columns, types = _columns(frame[list(plan.features)])
    whole = Dataset(columns, frame[plan.label].to_numpy(np.float32))
    parts = [whole.take(part.index.to_numpy()) for part in split(frame[[plan.label]], plan.seed)]
    training, validation, test = (_matrix(part, plan.features, types) for part in parts)
    if objective_of(hyperparameters.booster) == "survival:aft":  # as `fit` does with the others
        times = parts[2].label
        upper = np.where(times < 0, np.inf, times)
        test.set_info(label_lower_bound=np.abs(times), label_upper_bound=upper)
    fitted = fit(hyperparameters, training, validation, nthread=1)
    predictions = fitted.booster.predict(test)
    evaluation = partial(
        write_evaluation,
        evaluation_file(plan.out, fingerprint),
        parts[2].label,
        predictions,
        _importance(fitted.booster, hyperparameters),
    )
    archive, digest, size = _packed(plan, segment, fitted.booster, parts[2], evaluation)
    return Record(
        segment.name,
        fingerprint,
        train_rows=parts[0].rows,
        validation_rows=parts[1].rows,
        test_rows=parts[2].rows,
        metrics=_metrics(fitted, hyperparameters, test, predictions),
        rounds=fitted.booster.num_boosted_rounds(),
        path=archive.relative_to(plan.out).as_posix(),
        sha256=digest,
        size=size,
    )


def _packed(
    plan: Plan,
    segment: Segment,
    booster: xgb.Booster,
    test: Dataset,
    write_evaluation: Callable[[Path], None],
) -> tuple[Path, str, int]:
    """Write the evaluation and then the archive; return where that is, its SHA-256 and size."""
    archive = archive_file(plan.out, segment.name)
    with tempfile.TemporaryDirectory(dir=scratch_directory(plan.out)) as name:
        scratch = Path(name)
        model, check, packed = scratch / MODEL_NAME, scratch / CHECK_NAME, scratch / archive.name
        booster.save_model(model)
        write_check(booster, test.features, check)
        pack(model, packed, plan.extra, check)
        content = packed.read_bytes()
        write_evaluation(scratch)
        packed.replace(archive)
    return archive, hashlib.sha256(content).hexdigest(), len(content)


def _columns(frame: pd.DataFrame) -> tuple[Floats | pd.DataFrame, list[str] | None]:
    """Numbers as an array, with the types that XGBoost would have seen in the frame.

    It comes to the same model, and takes a fraction of the time that XGBoost spends on a frame.
    """
    kinds = [dtype.kind for dtype in frame.dtypes]
    if set(kinds) <= _TYPES.keys():
        with np.errstate(over="ignore"):  # XGBoost refuses infinity
            return np.ascontiguousarray(frame.to_numpy(np.float32)), [
                _TYPES[kind] for kind in kinds
            ]
    return frame, None


def _matrix(part: Dataset, features: Sequence[str], types: list[str] | None) -> xgb.DMatrix:
    matrix = part.matrix(1)
    if types is not None:
        matrix.feature_names = list(features)
        matrix.feature_types = types
    return matrix


def _metrics(
    fitted: Fitted, hyperparameters: Hyperparameters, test: xgb.DMatrix, predictions: Any
) -> dict[str, float]:
    metrics = {
        f"{data}-{name}": value
        for data, scores in fitted.scores.items()
        for name, value in scores.items()
    }
    # As text, because that is all that XGBoost gives; all digits are in it.
    for score in fitted.booster.eval_set([(test, "test")]).split()[1:]:
        name, _, value = score.rpartition(":")
        metrics[name] = float(value)
    own = custom_metric(hyperparameters)
    return metrics | ({f"test-{k}": v for k, v in _own(own, predictions, test)} if own else {})


def _own(metric: Metric, predictions: Any, test: xgb.DMatrix) -> list[tuple[str, float]]:
    return [(name, float(value)) for name, value in metric(predictions, test)]


def _importance(booster: xgb.Booster, hyperparameters: Hyperparameters) -> Mapping[str, float]:
    """Gain by feature; a linear model has coefficients instead."""
    linear = hyperparameters.booster.get("booster") == "gblinear"
    scores = booster.get_score(importance_type="weight" if linear else "gain")
    return {name: float(np.mean(score)) for name, score in scores.items()}
