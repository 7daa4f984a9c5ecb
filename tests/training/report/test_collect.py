from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mme_training.errors import UserError
from mme_training.many.manifest import MANIFEST, PREDICTIONS
from mme_training.report.collect import collect


def changed(out: Path, to: Path, **columns: list[object]) -> Path:
    """A copy of the tables of `out`, some columns of the manifest replaced."""
    to.mkdir()
    shutil.copy(out / PREDICTIONS, to)
    table = pq.read_table(out / MANIFEST)
    for name, values in columns.items():
        place = table.column_names.index(name)
        table = table.set_column(place, name, pa.array(values, table.schema.field(name).type))
    pq.write_table(table, to / MANIFEST)
    return to


def test_the_worst_come_first(out: Path):
    evaluation = collect(out, 6)

    assert evaluation.metric == "test-rmse"
    assert evaluation.metrics == ["test-rmse", "validation-rmse", "train-rmse"]
    assert not evaluation.maximize
    errors = [model.metrics["test-rmse"] for model in evaluation.trained]
    assert len(errors) == 5
    assert errors == sorted(errors, reverse=True)
    assert evaluation.worst == evaluation.trained[:3]
    assert [model.key for model in evaluation.failed] == ["<b>Tiny</b>"]
    assert evaluation.hyperparameters["max_depth"] == "5"


def test_no_more_of_the_worst_than_asked_for(out: Path):
    evaluation = collect(out, 1)
    assert evaluation.worst == evaluation.trained[:1]
    assert list(evaluation.predictions) == [evaluation.worst[0].name]


def test_predictions_are_those_that_the_metric_was_computed_of(out: Path):
    evaluation = collect(out, 6)
    for model in evaluation.worst:
        rows = evaluation.predictions[model.name]
        assert rows.kind == "number"
        assert len(rows.label) == model.test_rows
        rmse = math.sqrt(np.mean((rows.label - rows.predicted) ** 2))
        assert rmse == pytest.approx(model.metrics["test-rmse"], rel=1e-5)


def test_the_last_metric_that_was_asked_for_judges(binary: Path):
    evaluation = collect(binary, 6)

    assert evaluation.metric == "test-logloss"
    assert {rows.kind for rows in evaluation.predictions.values()} == {"probability"}
    rows = evaluation.predictions[evaluation.worst[0].name]
    assert set(rows.label) <= {0, 1}
    loss = -np.mean(np.log(np.where(rows.label == 1, rows.predicted, 1 - rows.predicted)))
    assert loss == pytest.approx(evaluation.worst[0].metrics["test-logloss"], rel=1e-4)


def test_of_several_probabilities_the_highest_is_the_class(multiclass: Path):
    evaluation = collect(multiclass, 6)

    assert evaluation.metric == "test-mlogloss"
    rows = evaluation.predictions[evaluation.worst[0].name]
    assert rows.kind == "class"
    assert set(rows.predicted) <= {0, 1, 2}
    assert np.mean(rows.label == rows.predicted) > 0.5


def test_where_more_is_better_the_least_is_the_worst(binary: Path, tmp_path: Path):
    to = changed(binary, tmp_path / "to")
    table = pq.read_table(to / MANIFEST)
    pq.write_table(table.replace_schema_metadata(None).drop(["test-logloss"]), to / MANIFEST)
    evaluation = collect(to, 6)

    assert evaluation.metric == "test-auc"
    assert evaluation.maximize
    areas = [model.metrics["test-auc"] for model in evaluation.trained]
    assert areas == sorted(areas)


def test_metrics_of_validation_judge_where_there_are_no_others(binary: Path, tmp_path: Path):
    to = changed(binary, tmp_path / "to")
    table = pq.read_table(to / MANIFEST)
    pq.write_table(table.drop(["test-auc", "test-logloss"]), to / MANIFEST)

    assert collect(to, 6).metric == "validation-logloss"


def test_a_model_without_the_metric_is_last_and_not_judged(out: Path, tmp_path: Path):
    values = pq.read_table(out / MANIFEST).column("test-rmse").to_pylist()
    best = min(value for value in values if value is not None)
    spoiled = [math.nan if value != best else value for value in values]
    evaluation = collect(changed(out, tmp_path / "to", **{"test-rmse": spoiled}), 6)

    assert [model.metrics["test-rmse"] for model in evaluation.worst] == [best]
    assert evaluation.trained[0] == evaluation.worst[0]
    assert len(evaluation.trained) == 5


def test_failures_alone(failed: Path):
    evaluation = collect(failed, 6)

    assert evaluation.trained == []
    assert len(evaluation.failed) == 2
    assert evaluation.metric is None
    assert evaluation.worst == []


def test_without_predictions(out: Path, tmp_path: Path):
    to = changed(out, tmp_path / "to")
    (to / PREDICTIONS).unlink()
    assert collect(to, 6).predictions == {}


def test_no_model_can_be_judged(out: Path, tmp_path: Path):
    nothing = [None] * 6
    columns = {f"{part}-rmse": nothing for part in ("test", "validation")}
    evaluation = collect(changed(out, tmp_path / "to", **columns), 6)

    assert len(evaluation.trained) == 5
    assert evaluation.worst == []
    assert evaluation.predictions == {}


def test_a_directory_with_a_name_like_a_partition(out: Path, tmp_path: Path):
    evaluation = collect(changed(out, tmp_path / "test-day=1"), 6)
    assert evaluation.metrics == ["test-rmse", "validation-rmse", "train-rmse"]
    assert len(evaluation.predictions) == 3


def test_rows_that_are_not_finite_are_left_out(out: Path, tmp_path: Path):
    to = changed(out, tmp_path / "to")
    table = pq.read_table(to / PREDICTIONS)
    label = table.column("label").to_numpy().copy()
    label[:] = np.nan
    label[::4] = 1
    pq.write_table(table.set_column(1, "label", pa.array(label)), to / PREDICTIONS)
    for rows in collect(to, 6).predictions.values():
        assert set(rows.label) == {1}


def test_no_manifest(tmp_path: Path):
    with pytest.raises(UserError, match=r"there is no manifest\.parquet in "):
        collect(tmp_path, 6)


def test_a_manifest_that_is_no_parquet(tmp_path: Path):
    (tmp_path / MANIFEST).write_bytes(b"PAR1 of something else PAR1")
    with pytest.raises(UserError, match=r"manifest\.parquet is not as"):
        collect(tmp_path, 6)


def test_a_table_of_something_else(tmp_path: Path):
    pq.write_table(pa.table({"city": ["Dallas_TX"]}), tmp_path / MANIFEST)
    with pytest.raises(UserError, match=r"manifest\.parquet is not as"):
        collect(tmp_path, 6)
