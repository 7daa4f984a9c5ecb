from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from mme_handler.models.archive import inspect
from mme_training.archives.check import read_rows
from mme_training.archives.loading import load
from mme_training.archives.pack import unpack
from mme_training.houses import FEATURES, make_houses
from mme_training.many.evaluation import read_evaluation
from mme_training.many.layout import evaluation_file
from mme_training.many.segments import arrange
from mme_training.many.table import open_table
from mme_training.many.task import read_segment, train_segment
from mme_training.many.work import Plan, Record, Segment
from mme_training.split import split
from support.many import HYPERPARAMETERS, LABEL, SEED, write

BOOSTER = {name: HYPERPARAMETERS[name] for name in ("objective", "max_depth", "eta", "subsample")}


def prepared(frame: pd.DataFrame, directory: Path, **changes: Any) -> tuple[Plan, Segment]:
    """The one segment of a frame."""
    table = open_table(write(frame.assign(city="Dallas"), directory), "city", LABEL)
    (segment,) = arrange(table, directory)
    given = {**HYPERPARAMETERS, **changes}
    given = {name: value for name, value in given.items() if value is not None}
    return Plan(LABEL, table.features, given, directory / "out", SEED), segment


def trained(frame: pd.DataFrame, directory: Path, **changes: Any) -> Record:
    return train_segment(*prepared(frame, directory, **changes), "print")


def direct(frame: pd.DataFrame, **changes: Any) -> xgb.Booster:
    """What `xgb.train` makes of the same rows."""
    parts = split(frame, SEED)
    train, validation = (
        xgb.DMatrix(part.drop(columns=LABEL), part[LABEL], enable_categorical=True, nthread=1)
        for part in parts[:2]
    )
    return xgb.train(
        {**BOOSTER, "seed": 7, "nthread": 1, **changes},
        train,
        8,
        evals=[(train, "train"), (validation, "validation")],
        callbacks=[xgb.callback.EarlyStopping(rounds=3, save_best=True)],
        verbose_eval=False,
    )


def model_bytes(record: Record, directory: Path) -> bytes:
    assert record.path is not None, record.error
    unpack(directory / "out" / record.path, directory / "model")
    return (directory / "model/model.ubj").read_bytes()


def mixed(rows: int = 200) -> pd.DataFrame:
    """Features of all types that there are, some missing."""
    random = np.random.default_rng(3)
    numbers = random.normal(size=rows)
    return pd.DataFrame(
        {
            "whole": random.integers(0, 50, rows),
            "small": random.integers(0, 50, rows).astype(np.uint8),
            "number": np.where(numbers > 1, np.nan, numbers),
            "single": numbers.astype(np.float32),
            "flag": random.random(rows) < 0.5,
            LABEL: numbers * 100 + random.normal(size=rows),
        }
    )


def test_the_model_is_that_of_xgboost_called_directly(tmp_path: Path):
    frame = make_houses("Dallas", 300)

    record = trained(frame, tmp_path)

    assert model_bytes(record, tmp_path) == bytes(direct(frame).save_raw("ubj"))


def test_so_it_is_for_features_of_every_type(tmp_path: Path):
    numbers = mixed()
    categories = numbers.assign(
        kind=pd.Categorical(np.where(numbers["whole"] % 3, "b", "a")),
        place=np.where(numbers["whole"] % 2, "north", "south"),
    )
    for number, frame in enumerate((numbers, categories)):
        directory = tmp_path / str(number)
        texts = {name: "category" for name in ("place",) if name in frame}

        record = trained(frame, directory)

        expected = direct(frame.astype(texts))
        assert model_bytes(record, directory) == bytes(expected.save_raw("ubj"))


def test_metrics_are_those_of_the_three_parts(tmp_path: Path):
    frame = make_houses("Dallas", 300)

    record = trained(frame, tmp_path, eval_metric="mae,rmse")

    booster, parts = direct(frame, eval_metric=["mae", "rmse"]), split(frame, SEED)
    assert (record.train_rows, record.validation_rows, record.test_rows) == (180, 90, 30)
    assert record.rounds == booster.num_boosted_rounds()
    assert len(record.metrics) == 6
    for data, part in parts._asdict().items():
        errors = booster.predict(xgb.DMatrix(part[list(FEATURES)])) - part[LABEL]
        assert record.metrics[f"{data}-rmse"] == pytest.approx(np.sqrt(np.mean(errors**2)), 1e-5)
        assert record.metrics[f"{data}-mae"] == pytest.approx(np.mean(np.abs(errors)), 1e-5)


def test_own_metrics_are_taken_of_the_test_rows_too(tmp_path: Path):
    frame = mixed().drop(columns=LABEL).assign(PRICE=lambda rows: rows["flag"].astype(int))

    record = trained(frame, tmp_path, objective="binary:logistic", eval_metric="logloss,accuracy")

    assert record.error is None
    assert record.metrics["test-accuracy"] == 1.0
    assert set(record.metrics) == {
        f"{data}-{name}"
        for data in ("train", "validation", "test")
        for name in ("logloss", "accuracy")
    }


def test_the_evaluation_holds_predictions_and_importance(tmp_path: Path):
    frame = make_houses("Dallas", 300)
    trained(frame, tmp_path)

    rows, importance = read_evaluation(evaluation_file(tmp_path / "out", "print"))

    booster, test = direct(frame), split(frame, SEED).test
    expected = booster.predict(xgb.DMatrix(test[list(FEATURES)]))
    assert rows.column("prediction").to_pylist() == expected.tolist()
    assert rows.column("label").to_pylist() == test[LABEL].astype(np.float32).tolist()
    assert importance == pytest.approx(booster.get_score(importance_type="gain"))


def test_a_model_of_several_outputs_has_lists_of_predictions(tmp_path: Path):
    frame = mixed().assign(PRICE=lambda rows: rows["whole"] % 3)

    trained(frame, tmp_path, objective="multi:softprob", num_class=3)

    rows, _ = read_evaluation(evaluation_file(tmp_path / "out", "print"))
    assert [len(values) for values in rows.column("prediction").to_pylist()] == [3] * 20


def test_a_linear_model_has_coefficients(tmp_path: Path):
    record = trained(mixed(), tmp_path, booster="gblinear", max_depth=None, subsample=None)

    assert record.error is None
    _, importance = read_evaluation(evaluation_file(tmp_path / "out", "print"))
    assert set(importance) == {"whole", "small", "number", "single", "flag"}


def test_the_same_segment_gives_the_same_archive(tmp_path: Path):
    plan, segment = prepared(make_houses("Dallas", 60), tmp_path)

    first, again = (train_segment(plan, segment, "print") for _ in range(2))

    assert first.sha256 == again.sha256
    assert list((tmp_path / "out/.scratch").iterdir()) == []


def test_rows_are_read_with_their_types(tmp_path: Path):
    frame = pd.DataFrame(
        {
            "flag": pd.array([True, None, False], "boolean"),
            "count": pd.array([1, None, 3], "Int64"),
            "kind": ["b", None, "a"],
            LABEL: [1, 2, 3],
        }
    )

    read = read_segment(*prepared(frame, tmp_path))

    assert list(read.columns) == [LABEL, "flag", "count", "kind"]
    assert read["kind"].cat.categories.tolist() == ["a", "b"]
    assert read["kind"].isna().tolist() == [False, True, False]
    assert read["flag"].tolist()[::2] == [1.0, 0.0]
    assert [read[name].dtype.kind for name in (LABEL, "flag", "count")] == ["i", "f", "f"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({LABEL: [1.0, None, 3.0, float("inf")] * 5}, "10 of 20 rows have no finite label"),
        ({LABEL: ["1", "2", "n/a", "4"] * 5}, "row 3 of 20 has the label 'n/a'"),
        ({"a": [1.0, 2.0, 3.0, float("inf")] * 5}, "inf"),
    ],
)
def test_bad_rows_are_a_failure_of_their_segment(
    tmp_path: Path, change: dict[str, Any], message: str
):
    columns = {"a": [1.0, 2.0, 3.0, 4.0] * 5, LABEL: [1.0, 2.0, 3.0, 4.0] * 5}

    record = trained(pd.DataFrame({**columns, **change}), tmp_path)

    assert record.error is not None
    assert message in record.error
    assert "Stack trace" not in record.error
    assert (record.path, record.sha256) == (None, None)
    assert record.seconds > 0
    assert not (tmp_path / "out/archives").exists() or not any(
        (tmp_path / "out/archives").iterdir()
    )


def test_numbers_may_be_text_in_the_label(tmp_path: Path):
    frame = pd.DataFrame({"a": range(20), LABEL: [str(n) for n in range(20)]})

    assert trained(frame, tmp_path).error is None


def test_two_rows_cannot_be_split(tmp_path: Path):
    record = trained(make_houses("Dallas", 2), tmp_path)

    assert record.error is not None
    assert record.error.startswith("2 rows cannot be split")
    assert trained(make_houses("Dallas", 3), tmp_path / "three").error is None


def test_a_missing_extra_file_is_a_failure(tmp_path: Path):
    plan, segment = prepared(make_houses("Dallas", 20), tmp_path)
    broken = Plan(
        plan.label, plan.features, plan.hyperparameters, plan.out, extra={"x": tmp_path / "none"}
    )

    record = train_segment(broken, segment, "print")

    assert record.error is not None
    assert record.error.startswith("FileNotFoundError")
    assert datetime.timedelta(seconds=record.seconds) > datetime.timedelta(0)


def test_a_text_column_that_is_empty_in_a_segment_is_no_failure(tmp_path: Path):
    frame = mixed().assign(place=pd.Series([None] * 200, dtype="string"))

    assert trained(frame, tmp_path).error is None


def test_categories_beyond_ascii_can_be_verified_by_their_codes(tmp_path: Path):
    frame = mixed()
    places = np.where(frame["whole"] % 2, "Zürich", "東京")
    frame = frame.assign(place=places, **{LABEL: frame["whole"] % 2 * 5.0})

    model_bytes(trained(frame, tmp_path), tmp_path)

    models = load(inspect(tmp_path / "model"))
    rows = read_rows(tmp_path / "model/check.csv", 6, models.schema.names)
    assert {row[-1] for row in rows.cells} == {"0", "1"}
    (body,) = rows.bodies()
    assert rows.predictions is not None
    assert models.predict(models.read(body)).tolist() == rows.predictions.tolist()


def test_accelerated_failure_times_are_judged_by_test_rows(tmp_path: Path):
    frame = mixed()
    times = frame["whole"].to_numpy() + 1.0
    frame = frame.assign(**{LABEL: np.where(frame["flag"], times, -times)})

    record = trained(frame, tmp_path, objective="survival:aft")

    assert record.error is None
    assert "test-aft-nloglik" in record.metrics


def test_a_label_beyond_float32_is_not_finite(tmp_path: Path):
    record = trained(mixed().assign(**{LABEL: [1e300] * 200}), tmp_path)

    assert record.error is not None
    assert "200 of 200 rows have no finite label" in record.error


def test_a_gpu_that_is_not_there_is_a_failure(tmp_path: Path):
    record = trained(make_houses("Dallas", 20), tmp_path, device="cuda")

    assert record.error is not None
    assert record.error.startswith("hyperparameter device: device cuda is wanted, and ")
