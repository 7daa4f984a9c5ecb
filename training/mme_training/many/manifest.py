"""The two tables that a run leaves: what its models are, and how they judged.

``<out>/manifest.parquet`` has a row for each segment that was trained or failed, in order of keys:

=================================================  ===============================================
``key``                                            the segment's value in the key column, as text
``name``                                           the same as it stands in names of files
``rows``                                           int64: all of the segment's
``train_rows``, ``validation_rows``, ``test_rows`` int64: how they were split
``train-rmse``, ``validation-rmse``, ``test-rmse`` float64: and so on for each metric; null where
                                                   it failed
``rounds``                                         int64: that the model has
``path``                                           the archive: relative to the manifest, or a URI
``sha256``, ``size``                               of the archive; int64 bytes
``seconds``                                        float64: that it took
``version``                                        of XGBoost
``attempts``                                       int64: 1, and one more for each process that died
``fingerprint``                                    of all that the model depends on
``importance``                                     map of feature to gain (coefficient, if linear);
                                                   a feature that no tree asks is not in it
``error``                                          why there is no model; else null
=================================================  ===============================================

``<out>/predictions.parquet`` has a row for each test row, by segment in the same order: ``segment``
(the name, dictionary), ``label`` (float32) and ``prediction`` (float32, or a list of them). Models
that were not trained on this machine have neither rows there nor importance.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from mme_training.many.evaluation import read_evaluation
from mme_training.many.layout import evaluation_file, scratch_directory
from mme_training.many.work import Plan, Record, Segment

MANIFEST: Final = "manifest.parquet"
PREDICTIONS: Final = "predictions.parquet"
PLAN: Final = b"plan"
"""Key of the manifest's metadata: JSON of label, features, seed and hyperparameters."""
_AT_ONCE: Final = 1 << 18  # rows of predictions held before they are written


def write_tables(plan: Plan, segments: Sequence[Segment], records: Mapping[str, Record]) -> None:
    """Write both tables; each replaces the last one only once it is whole.

    Args:
        plan: what the models have in common; they are below its `out`.
        segments: in the order that the rows are to have.
        records: by name of segment; a segment without one is left out.
    """
    out = plan.out
    known = [(segment, records[segment.name]) for segment in segments if segment.name in records]
    importance = _write_predictions(out, [record for _, record in known])
    rows = [_row(segment, record, importance.get(segment.name)) for segment, record in known]
    names = dict.fromkeys(name for _, record in known for name in record.metrics)
    partial = scratch_directory(out) / MANIFEST
    schema = _schema(names).with_metadata({PLAN: json.dumps(_described(plan))})
    pq.write_table(pa.Table.from_pylist(rows, schema), partial)
    partial.replace(out / MANIFEST)


def _described(plan: Plan) -> dict[str, Any]:
    return {
        "label": plan.label,
        "features": plan.features,
        "seed": plan.seed,
        "hyperparameters": {
            name: str(value) for name, value in plan.hyperparameters.items() if value is not None
        },
    }


def _row(
    segment: Segment, record: Record, importance: Mapping[str, float] | None
) -> dict[str, Any]:
    return {
        "key": segment.key,
        "name": segment.name,
        "rows": segment.rows,
        "train_rows": record.train_rows,
        "validation_rows": record.validation_rows,
        "test_rows": record.test_rows,
        **record.metrics,
        "rounds": record.rounds,
        "path": record.path,
        "sha256": record.sha256,
        "size": record.size,
        "seconds": record.seconds,
        "version": record.version,
        "attempts": record.attempts,
        "fingerprint": record.fingerprint,
        "importance": None if importance is None else list(importance.items()),
        "error": record.error,
    }


def _schema(metrics: Iterable[str]) -> pa.Schema:
    whole, text = pa.int64(), pa.string()
    return pa.schema(
        {
            "key": text,
            "name": text,
            **dict.fromkeys(("rows", "train_rows", "validation_rows", "test_rows"), whole),
            **dict.fromkeys(metrics, pa.float64()),
            "rounds": whole,
            "path": text,
            "sha256": text,
            "size": whole,
            "seconds": pa.float64(),
            "version": text,
            "attempts": whole,
            "fingerprint": text,
            "importance": pa.map_(text, pa.float64()),
            "error": text,
        }
    )


def _write_predictions(out: Path, records: Iterable[Record]) -> dict[str, dict[str, float]]:
    """Put all that is known of the test rows into one file; return the importances by segment."""
    partial = scratch_directory(out) / PREDICTIONS
    importance: dict[str, dict[str, float]] = {}
    writer: Any = None
    waiting: list[pa.Table] = []
    rows = 0
    for record in records:
        file = evaluation_file(out, record.fingerprint)
        if record.error is not None or not file.exists():
            continue
        table, importance[record.segment] = read_evaluation(file)
        waiting.append(_with_segment(table, record.segment))
        rows += table.num_rows
        if rows > _AT_ONCE:
            writer, rows = _flush(writer, partial, waiting), 0
    if waiting:
        writer = _flush(writer, partial, waiting)
    if writer is None:
        (out / PREDICTIONS).unlink(missing_ok=True)
    else:
        writer.close()
        partial.replace(out / PREDICTIONS)
    return importance


def _with_segment(table: pa.Table, name: str) -> pa.Table:
    column = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), len(table)), [name])
    return table.add_column(0, "segment", column)


def _flush(writer: Any, file: Path, waiting: list[pa.Table]) -> Any:
    table = pa.concat_tables(waiting).unify_dictionaries()
    waiting.clear()
    writer = writer or pq.ParquetWriter(file, table.schema)
    writer.write_table(table)
    return writer
