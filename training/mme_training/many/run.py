"""A run: from a table to a model for each segment, going on where an earlier run ended."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from mme_training.errors import UserError
from mme_training.hyperparameters.parse import parse
from mme_training.many.journal import Journal, locked
from mme_training.many.layout import scratch_directory
from mme_training.many.manifest import write_tables
from mme_training.many.segments import arrange, digest, rows_of
from mme_training.many.table import open_table
from mme_training.many.work import Engine, Plan, Record, Segment

_FORMAT = 1
"""Raised when the same rows and hyperparameters come to another model or archive than before."""


def train_many(
    table: Path,
    by: str,
    label: str,
    out: Path,
    engine: Engine,
    hyperparameters: Mapping[str, Any],
    *,
    features: Sequence[str] | None = None,
    seed: int = 0,
    extra: Mapping[str, Path] = {},
    on_start: Callable[[int, int], None] | None = None,
    on_done: Callable[[Record], None] | None = None,
) -> list[Record]:
    """Split `table` by the column `by` and train a model for each of its values.

    What an earlier run into `out` has trained of the same rows, hyperparameters, extra files and
    version of XGBoost is not trained again; what failed there is. The tables of
    `mme_training.many.manifest` are written at the end, also at the end by an exception.

    Args:
        table: a Parquet, Arrow or CSV file, or a directory of such files.
        by: the column to split by.
        label: the column to predict.
        out: a directory, made if need be; `mme_training.many.layout` says what is in it.
        engine: what trains.
        hyperparameters: by name, as in SageMaker's hyperparameters.json or as Python values.
        features: columns to learn from; default: all but `by` and `label`.
        seed: of the split of each segment's rows.
        extra: by name within the archive, files that each archive gets.
        on_start: called with how many segments there are, and how many of them are done already.
        on_done: called with each record as it comes.

    Returns:
        The records of all segments in order of keys; `error` says which have failed.

    Raises:
        UserError: the arguments or the table are wrong, or another run is training into `out`.
        OSError: `out` cannot be written.
    """
    _check(hyperparameters, seed, extra)
    if out.resolve().is_relative_to(table.resolve()):
        raise UserError(f"{out} is within the table {table}: give a directory outside of it")
    opened = open_table(table, by, label, features)
    plan = Plan(label, opened.features, dict(hyperparameters), out.absolute(), seed, dict(extra))
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        shutil.rmtree(scratch_directory(plan.out))  # of a run that was killed
        journal = Journal(plan.out)
        try:
            segments = arrange(opened, scratch_directory(plan.out))
            pa.default_memory_pool().release_unused()
            fingerprints = _fingerprints(plan, segments)
            records = journal.done(fingerprints)
            if on_start:
                on_start(len(segments), len(records))

            def done(record: Record) -> None:
                journal.add(record)
                records[record.segment] = record
                if on_done:
                    on_done(record)

            # The largest first: none of them is then left over for the end.
            todo = sorted(
                (segment for segment in segments if segment.name not in records),
                key=lambda segment: -segment.rows,
            )
            try:
                if todo:
                    engine.run(plan, todo, fingerprints, done)
            finally:
                write_tables(plan, segments, records)
                _tidy(plan.out, records)
        finally:
            journal.close()
            shutil.rmtree(scratch_directory(plan.out), ignore_errors=True)
    return [records[segment.name] for segment in segments if segment.name in records]


def _check(hyperparameters: Mapping[str, Any], seed: int, extra: Mapping[str, Path]) -> None:
    checked = parse(hyperparameters)
    if checked.kfold is not None:
        raise UserError("_kfold is for a single job: an archive has one model of each segment")
    if checked.csv_weights:
        raise UserError("csv_weights is for a single job: the columns of a table have names")
    if str(checked.booster.get("objective", "")).startswith("rank:"):
        raise UserError("a table has no queries to rank by: train single jobs on libsvm with qid")
    if seed < 0:
        raise UserError(f"the seed is {seed}: it must be 0 or more")
    if extra:
        from mme_training.archives.extra import check_extra  # takes its time

        check_extra(extra)


def _fingerprints(plan: Plan, segments: Sequence[Segment]) -> dict[str, str]:
    common = [
        _FORMAT,
        plan.label,
        plan.features,
        {name: str(value) for name, value in sorted(plan.hyperparameters.items())},
        plan.seed,
        {n: hashlib.sha256(f.read_bytes()).hexdigest() for n, f in sorted(plan.extra.items())},
        _xgboost_version(),
    ]
    return {
        segment.name: hashlib.sha256(
            json.dumps([*common, segment.key, digest(rows_of(segment))]).encode()
        ).hexdigest()
        for segment in segments
    }


def _xgboost_version() -> str:
    """Read, not imported: that takes over a second, and this process trains nothing."""
    found = importlib.util.find_spec("xgboost")
    if found is None or found.origin is None:
        raise UserError("xgboost is not installed")
    return Path(found.origin).with_name("VERSION").read_text().strip()


def _tidy(out: Path, records: Mapping[str, Record]) -> None:
    """Remove evaluations of models that are no more."""
    kept = {record.fingerprint for record in records.values()}
    for file in (out / "evaluations").glob("*.arrow"):
        if file.stem not in kept:
            file.unlink()
