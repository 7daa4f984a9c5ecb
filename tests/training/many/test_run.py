from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
import xgboost as xgb

from mme_training.archives.pack import unpack
from mme_training.errors import UserError
from mme_training.many.journal import locked
from mme_training.many.work import Plan, Record, Segment
from mme_training.report.collect import collect
from mme_training.split import split
from support.many import CITIES, HYPERPARAMETERS, LABEL, SEED, houses, run, write
from support.serving import until

_RUN = "import sys; from pathlib import Path; from support.many import run; " + (
    "run(Path(sys.argv[1]), Path(sys.argv[2]))"
)


class Counts:
    """Tells what a run asks of its engine, and lets a real one do it."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def run(self, plan: Plan, segments: list[Segment], *rest: Any) -> None:
        from mme_training.many.local import LocalEngine

        self.names += [segment.name for segment in segments]
        LocalEngine(1).run(plan, segments, *rest)


def again(table: Path, out: Path, **options: Any) -> list[str]:
    """Run once more; return what was trained."""
    engine = Counts()
    run(table, out, engine, **options)
    return sorted(engine.names)


def journal(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()]


def test_each_city_gets_a_model_and_a_row(tmp_path: Path):
    records = run(write(houses(), tmp_path), tmp_path / "out")

    manifest = pd.read_parquet(tmp_path / "out/manifest.parquet").set_index("key")
    assert manifest.index.tolist() == list(CITIES)
    for record in records:
        row = manifest.loc[record.segment]
        content = (tmp_path / "out" / row["path"]).read_bytes()
        assert row["sha256"] == hashlib.sha256(content).hexdigest()
        assert row["size"] == len(content)
        assert row["rows"] == 60
        assert row[["train_rows", "validation_rows", "test_rows"]].tolist() == [36, 18, 6]
        assert row["version"] == xgb.__version__
        assert (row["seconds"], row["attempts"]) == (record.seconds, 1)
        assert pd.isna(row["error"])
        assert row["test-rmse"] == record.metrics["test-rmse"]
        assert "SQUARE_FEET" in dict(row["importance"])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".lock",
        "archives",
        "evaluations",
        "journal.jsonl",
        "manifest.parquet",
        "predictions.parquet",
    ]


def test_predictions_are_those_of_the_packed_models(tmp_path: Path):
    frame = houses()
    run(write(frame, tmp_path), tmp_path / "out")

    predictions = pd.read_parquet(tmp_path / "out/predictions.parquet")
    for city in CITIES:
        rows = predictions[predictions["segment"] == city]
        test = split(frame[frame["city"] == city].drop(columns="city"), SEED).test
        unpack(tmp_path / f"out/archives/{city}.tar.gz", tmp_path / city)
        booster = xgb.Booster(model_file=tmp_path / city / "model.ubj")
        expected = booster.predict(xgb.DMatrix(test.drop(columns=LABEL)))
        np.testing.assert_array_equal(rows["prediction"], expected)
        np.testing.assert_array_equal(rows["label"], test[LABEL].astype(np.float32))


def test_a_second_run_trains_nothing_and_says_the_same(tmp_path: Path):
    table, out = write(houses(), tmp_path), tmp_path / "out"
    seen: list[tuple[int, int]] = []
    first = run(table, out)
    manifest, predictions = ((out / f"{name}.parquet").read_bytes() for name in _TABLES)

    second = run(table, out, on_start=lambda *counts: seen.append(counts))

    assert second == first
    assert seen == [(3, 3)]
    assert (out / "manifest.parquet").read_bytes() == manifest
    assert (out / "predictions.parquet").read_bytes() == predictions
    assert len(journal(out)) == 3


_TABLES = ("manifest", "predictions")


def _other_rows(frame: pd.DataFrame) -> pd.DataFrame:
    dallas = frame["city"] == "Dallas"
    return frame.assign(LOT_ACRES=frame["LOT_ACRES"].where(~dallas, 1.0))


@pytest.mark.parametrize(
    ("change", "options", "trained"),
    [
        (_other_rows, {}, ["Dallas"]),
        (lambda frame: frame[frame["city"] != "Dallas"], {}, []),
        (lambda frame: pd.concat([frame, houses(["Austin"])]), {}, ["Austin"]),
        (lambda frame: frame, {"seed": 1}, [*CITIES]),
        (lambda frame: frame, {"features": ["SQUARE_FEET"]}, [*CITIES]),
        (lambda frame: frame, {"hyperparameters": {**HYPERPARAMETERS, "eta": 0.5}}, [*CITIES]),
    ],
)
def test_only_what_has_changed_is_trained_again(
    tmp_path: Path,
    change: Callable[[pd.DataFrame], pd.DataFrame],
    options: dict[str, Any],
    trained: list[str],
):
    frame, out = houses(), tmp_path / "out"
    run(write(frame, tmp_path), out)

    assert again(write(change(frame), tmp_path), out, **options) == trained
    assert again(write(change(frame), tmp_path), out, **options) == []


def test_a_changed_extra_file_is_noticed(tmp_path: Path):
    table, out, code = write(houses(), tmp_path), tmp_path / "out", tmp_path / "code.py"
    for content, trained in (("1", [*CITIES]), ("2", [*CITIES]), ("2", [])):
        code.write_text(content)
        assert again(table, out, extra={"code/inference.py": code}) == trained

    unpack(out / "archives/Dallas.tar.gz", tmp_path / "model")
    assert (tmp_path / "model/code/inference.py").read_text() == "2"


def test_lost_and_spoilt_files_are_made_again(tmp_path: Path):
    table, out = write(houses(), tmp_path), tmp_path / "out"
    records = {record.segment: record for record in run(table, out)}

    (out / "archives/Boston.tar.gz").unlink()
    (out / "archives/Chicago.tar.gz").write_bytes(b"spoilt")
    (out / "evaluations" / f"{records['Dallas'].fingerprint}.arrow").unlink()
    (out / "manifest.parquet").unlink()

    assert again(table, out) == [*CITIES]
    assert {record.segment: record.sha256 for record in run(table, out)} == {
        name: record.sha256 for name, record in records.items()
    }


def test_failures_are_recorded_and_tried_again(tmp_path: Path):
    whole = houses().astype({LABEL: float})
    frame = pd.concat([whole, houses(["Austin"], 2)])
    frame.loc[frame["city"] == "Boston", LABEL] = np.nan
    table, out = write(frame, tmp_path), tmp_path / "out"

    errors = {record.segment: record.error for record in run(table, out)}

    assert errors["Chicago"] is None
    assert errors["Dallas"] is None
    assert "2 rows cannot be split" in str(errors["Austin"])
    assert "60 of 60 rows have no finite label 'PRICE'" in str(errors["Boston"])
    manifest = pd.read_parquet(out / "manifest.parquet").set_index("key")
    assert manifest["error"].notna().tolist() == [True, True, False, False]
    assert manifest["path"].isna().tolist() == [True, True, False, False]
    assert np.isnan(manifest.loc["Austin", "test-rmse"])
    assert again(table, out) == ["Austin", "Boston"]
    assert again(write(whole, tmp_path), out) == ["Boston"]


def test_killed_half_way_nothing_is_trained_twice_and_nothing_lost(tmp_path: Path):
    cities = [f"City{number:02}" for number in range(60)]
    table, out = write(houses(cities, 400), tmp_path), tmp_path / "out"
    before = subprocess.Popen([sys.executable, "-c", _RUN, table, out], cwd=_TESTS)
    file = out / "journal.jsonl"
    until(lambda: file.exists() and file.read_bytes().count(b"\n") >= 10, 60, "10 records")
    workers = psutil.Process(before.pid).children()
    before.kill()
    before.wait()
    done = {record["segment"] for record in journal(out)}
    psutil.wait_procs(workers, 10)
    assert not any(worker.is_running() for worker in workers)
    assert 10 <= len(done) < 60

    records = run(table, out)

    counts = Counter(record["segment"] for record in journal(out))
    assert counts == dict.fromkeys(cities, 1)
    assert [record.segment for record in records] == cities
    assert all(record.error is None for record in records)
    whole = run(table, tmp_path / "whole")
    assert [record.sha256 for record in records] == [record.sha256 for record in whole]


def test_an_interrupted_run_leaves_its_manifest(tmp_path: Path):
    def stop(_: Record) -> None:
        raise KeyboardInterrupt

    table, out = write(houses(), tmp_path), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(table, out, on_done=stop)

    assert len(pd.read_parquet(out / "manifest.parquet")) == 1
    assert not (out / ".scratch").exists()
    assert len(again(table, out)) == 2


class Elsewhere:
    """An engine whose models are in S3, and that leaves the last segment under way."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def run(
        self,
        plan: Plan,
        segments: list[Segment],
        fingerprints: dict[str, str],
        on_done: Callable[[Record], None],
    ) -> None:
        for segment in segments[:2]:
            self.names.append(segment.name)
            path = f"s3://bucket/{segment.name}.tar.gz"
            on_done(Record(segment.name, fingerprints[segment.name], path=path))


def test_models_may_be_elsewhere_and_others_under_way(tmp_path: Path):
    table, out = write(houses(), tmp_path), tmp_path / "out"
    engines = [Elsewhere(), Elsewhere(), Elsewhere()]

    records = [run(table, out, engine) for engine in engines]

    assert [engine.names for engine in engines] == [["Boston", "Chicago"], ["Dallas"], []]
    assert [len(each) for each in records] == [2, 3, 3]
    manifest = pd.read_parquet(out / "manifest.parquet")
    assert manifest["path"].tolist() == [f"s3://bucket/{city}.tar.gz" for city in CITIES]
    assert manifest["importance"].isna().all()
    assert manifest["sha256"].isna().all()
    assert not (out / "predictions.parquet").exists()


@pytest.mark.parametrize("content", [b"", b"spoilt", b"ARROW1"])
def test_a_spoilt_evaluation_costs_one_segment(tmp_path: Path, content: bytes):
    table, out = write(houses(), tmp_path), tmp_path / "out"
    records = run(table, out)
    (out / f"evaluations/{records[0].fingerprint}.arrow").write_bytes(content)

    assert again(table, out) == [records[0].segment]
    assert again(table, out) == []


def test_the_table_is_not_written_into(tmp_path: Path):
    directory = write(houses(), tmp_path / "table").parent

    with pytest.raises(UserError, match="is within the table"):
        run(directory, directory / "out")
    assert not (directory / "out").exists()


def test_a_torn_line_of_the_journal_costs_one_segment(tmp_path: Path):
    table, out = write(houses(), tmp_path), tmp_path / "out"
    run(table, out)
    content = (out / "journal.jsonl").read_bytes()
    (out / "journal.jsonl").write_bytes(content[:-20])

    assert len(again(table, out)) == 1
    assert again(table, out) == []


def test_a_second_run_into_the_same_directory_is_refused(tmp_path: Path):
    table, out = write(houses(), tmp_path), tmp_path / "out"
    out.mkdir()

    with locked(out), pytest.raises(UserError, match="another run is training into"):
        run(table, out)
    assert len(run(table, out)) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hyperparameters": {**HYPERPARAMETERS, "max_dept": 3}}, "max_depth"),
        ({"hyperparameters": {**HYPERPARAMETERS, "_kfold": 3}}, "_kfold is for a single job"),
        (
            {"hyperparameters": {"num_round": 2, "objective": "rank:ndcg"}},
            "a table has no queries to rank by",
        ),
        ({"hyperparameters": {**HYPERPARAMETERS, "csv_weights": 1}}, "csv_weights is for"),
        ({"seed": -1}, "the seed is -1"),
        ({"extra": {"x": Path("/missing")}}, "/missing, which is to be 'x'"),
        ({"extra": {"../x": Path(__file__)}}, "'../x' is not a name within the archive"),
        ({"extra": {"model.ubj": Path(__file__)}}, "'model.ubj' cannot be used"),
        (
            {"extra": {"xgboost-model": Path(__file__)}},
            "several model files, keep one: model.ubj, xgboost-model",
        ),
        ({"extra": {"code": Path(__file__), "code/a.py": Path(__file__)}}, "'code' is a file"),
        ({"extra": {"mme.toml": Path(__file__)}}, r"mme\.toml"),
        (
            {"extra": {"code/inference.py": Path(__file__).parents[3] / "README.md"}},
            r"code/inference\.py: unterminated",
        ),
        ({"features": ["SQUARE_FOOT"]}, "did you mean 'SQUARE_FEET'"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_written(
    tmp_path: Path, options: dict[str, Any], message: str
):
    with pytest.raises(UserError, match=message):
        run(write(houses(), tmp_path), tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


_TESTS = Path(__file__).parents[2]


def test_a_null_hyperparameter_is_one_that_is_not_given(tmp_path: Path):
    table, out = write(houses(), tmp_path), tmp_path / "out"
    given = {**HYPERPARAMETERS, "eval_metric": ["mae", "rmse"]}
    run(table, out, hyperparameters={**given, "gamma": None})

    collected = collect(out, 1)

    assert "gamma" not in collected.hyperparameters
    assert collected.metric == "test-rmse"
