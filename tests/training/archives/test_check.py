from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from mme_handler.codecs import Schema, text_csv
from mme_handler.models.booster import adopt
from mme_handler.models.predictor import Predictor
from mme_training.archives.check import Rows, read_rows, write_check, write_rows
from mme_training.errors import UserError
from support.models import make_rows, train

FLOATS = st.floats(width=32, allow_infinity=False)


def same_bits(one: np.ndarray, other: np.ndarray) -> bool:
    return one.dtype == other.dtype == np.float32 and one.tobytes() == other.tobytes()


def decoded(path: Path, booster: xgb.Booster) -> np.ndarray:
    """The rows as the server reads them."""
    info = adopt(booster).info
    rows = read_rows(path, info.features, info.feature_names)
    schema = Schema(info.features, info.feature_names, info.categories or {})
    return np.concatenate([text_csv.decode(body, schema) for body in rows.bodies(3)])


@pytest.mark.parametrize("kind", ["array", "frame", "csr"])
def test_rows_and_predictions_read_back_bit_for_bit(tmp_path, kind: str) -> None:
    rows, booster = make_rows(50), train()
    features = {
        "array": rows,
        "frame": pd.DataFrame(rows),
        "csr": sparse.csr_matrix(np.where(np.isnan(rows), 0, rows)),
    }[kind]
    expected = np.where((rows == 0) & (kind == "csr"), np.float32(np.nan), rows)
    write_check(booster, features, tmp_path / "check.csv")

    found = read_rows(tmp_path / "check.csv", 6)
    assert len(found.cells) == 10
    assert found.predictions is not None
    assert same_bits(found.predictions, booster.predict(xgb.DMatrix(expected[:10])))
    assert np.array_equal(decoded(tmp_path / "check.csv", booster), expected[:10], equal_nan=True)


@settings(max_examples=50)
@given(st.lists(st.tuples(FLOATS, FLOATS, FLOATS), min_size=1, max_size=5))
def test_every_float32_reads_back(tmp_path_factory, values) -> None:
    path = tmp_path_factory.mktemp("floats") / "check.csv"
    array = np.array(values, np.float32)
    cells = [["" if v != v else repr(float(v)) for v in row] for row in array[:, :1]]
    write_rows(path, ["a"], cells, array)

    found = read_rows(path, 1, ["a"])
    assert found.cells == cells
    assert found.predictions is not None
    assert np.array_equal(found.predictions, array, equal_nan=True)
    signs = np.signbit(found.predictions) == np.signbit(array)
    assert (signs | np.isnan(array)).all()


def test_categories_of_a_frame_are_texts(tmp_path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "place": pd.Categorical(rng.choice(["a,b", 'say "c"', "d"], 200)),
            "floor": pd.Categorical(rng.integers(1, 4, 200)),
            "area": rng.normal(size=200),
            "new": rng.random(200) < 0.5,
        }
    )
    frame.loc[3, "place"] = None
    matrix = xgb.DMatrix(frame, frame["area"], enable_categorical=True)
    booster = xgb.train({"nthread": 1}, matrix, 5)
    write_check(booster, frame, tmp_path / "check.csv", 200)

    found = read_rows(tmp_path / "check.csv", 4, list(frame))
    assert found.cells[3][0] == ""
    codes = decoded(tmp_path / "check.csv", booster)
    expected = frame["place"].cat.codes.replace(-1, np.nan).to_numpy()
    assert np.array_equal(codes[:, 0], expected, equal_nan=True)
    assert np.array_equal(codes[:, 1], frame["floor"].cat.codes)


def test_several_outputs(tmp_path) -> None:
    rows = make_rows(30)
    parameters = {"objective": "multi:softprob", "num_class": 3, "nthread": 1}
    booster = xgb.train(parameters, xgb.DMatrix(rows, np.arange(30) % 3), 3)
    write_check(booster, rows, tmp_path / "check.csv", 4)

    header = (tmp_path / "check.csv").read_text().partition("\n")[0]
    assert header == "f0,f1,f2,f3,f4,f5,prediction_0,prediction_1,prediction_2"
    found = read_rows(tmp_path / "check.csv", 6)
    assert found.predictions is not None
    assert same_bits(found.predictions, booster.predict(xgb.DMatrix(rows[:4])))


def test_very_wide_rows_are_few(tmp_path) -> None:
    rows = sparse.csr_matrix(([1.0], ([0], [39_999])), shape=(20, 40_000), dtype=np.float32)
    booster = xgb.train({"nthread": 1}, xgb.DMatrix(rows, np.ones(20)), 1)
    write_check(booster, rows, tmp_path / "check.csv")
    assert len(read_rows(tmp_path / "check.csv", 40_000).cells) == 2


def test_columns_of_a_model_without_names(tmp_path) -> None:
    for text in ("f1,f0\n2,1\n", "x,y\n1,2\n", "1,2\n", "label,f0,f1\n7,1,2\n"):
        (tmp_path / "rows.csv").write_text(text)
        assert read_rows(tmp_path / "rows.csv", 2).cells == [["1", "2"]]


def test_bodies_are_small() -> None:
    narrow = Rows([["1", "2"]] * 450)
    wide = Rows([["0.12345678"] * 60_000] * 3)
    assert [body.count(b"\n") for body in narrow.bodies()] == [200, 200, 50]
    assert [body.count(b"\n") for body in wide.bodies()] == [1, 1, 1]


def test_a_row_of_one_missing_value_is_still_a_row(tmp_path) -> None:
    (tmp_path / "rows.csv").write_text('a\n""\n1\n')
    assert list(read_rows(tmp_path / "rows.csv", 1, ["a"]).bodies()) == [b"NaN\n1\n"]


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("1,2\n3,4\n", [["1", "2"], ["3", "4"]]),
        ("a,b\n1,2\n", [["1", "2"]]),
        ("b,label,a\n1,7,2\n", [["2", "1"]]),
        ("\ufeffa,b\r\n1,2\r\n\r\n", [["1", "2"]]),
        ("x,y\n1,2\n", [["x", "y"], ["1", "2"]]),  # categories, for all that is known
    ],
)
def test_rows_with_and_without_a_header(tmp_path, text: str, cells) -> None:
    (tmp_path / "rows.csv").write_text(text)
    assert read_rows(tmp_path / "rows.csv", 2, ["a", "b"]).cells == cells


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "has no rows"),
        (b"a,b\n", "has no rows"),
        (b"1,2\n1\n", r"line 2: 1 cells where 2 are due"),
        (b"1,2,3\n", r"has 3 columns of features, and the model takes 2"),
        (b"a,c\n1,2\n", "has no column 'b', which the model takes"),
        (b"a,b,prediction\n1,2,high\n", "a prediction is no number"),
        (b"\xff\n", "is no CSV file"),
    ],
)
def test_what_is_refused(tmp_path, content: bytes, reason: str) -> None:
    (tmp_path / "rows.csv").write_bytes(content)
    with pytest.raises(UserError, match=rf"rows\.csv.*{reason}"):
        read_rows(tmp_path / "rows.csv", 2, ["a", "b"])


def test_categories_that_csv_cannot_carry_are_missing(tmp_path) -> None:
    texts = ["", " ", "x\ny", " led", "plain", "Other"]
    frame = pd.DataFrame({"place": pd.Categorical(texts * 9), "area": np.arange(54.0)})
    matrix = xgb.DMatrix(frame, np.arange(54) % 6, enable_categorical=True)
    booster = xgb.train({"nthread": 1}, matrix, 5)
    write_check(booster, frame, tmp_path / "check.csv", 54)

    found = read_rows(tmp_path / "check.csv", 2, list(frame))

    assert {row[0] for row in found.cells} == {"", "plain", "Other"}
    loaded = adopt(booster)
    rows = decoded(tmp_path / "check.csv", booster)
    answers = Predictor(loaded, 0).predict(rows)
    assert found.predictions is not None
    assert np.array_equal(answers, found.predictions)


@pytest.mark.parametrize("names", [["a", "prediction"], ["prediction", "prediction_0"]])
@pytest.mark.parametrize("outputs", [1, 2])
def test_features_may_be_called_predictions(tmp_path, names: list[str], outputs: int) -> None:
    predictions = np.array([[5.0], [6.0]], np.float32).repeat(outputs, 1)
    write_rows(tmp_path / "check.csv", names, [["1", "2"], ["3", "4"]], predictions.squeeze())

    found = read_rows(tmp_path / "check.csv", 2, names)

    assert found.cells == [["1", "2"], ["3", "4"]]
    assert found.predictions is not None
    assert np.array_equal(found.predictions, predictions.squeeze())


def test_a_feature_called_prediction_is_none_where_there_are_no_predictions(tmp_path) -> None:
    (tmp_path / "rows.csv").write_text("a,prediction\n1,2\n")

    assert read_rows(tmp_path / "rows.csv", 2, ["a", "prediction"]) == Rows([["1", "2"]])
