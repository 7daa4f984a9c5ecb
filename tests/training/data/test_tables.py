from __future__ import annotations

import datetime
import decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xgboost as xgb
from hypothesis import given, settings
from hypothesis import strategies as st

from mme_training.data.channel import read_channel
from mme_training.errors import UserError
from support.training_data import model_bytes, read

PARQUET = "application/x-parquet"
FILE = "application/vnd.apache.arrow.file"
STREAM = "application/vnd.apache.arrow.stream"
TYPES = [PARQUET, FILE, STREAM]


def save(path: Path, table: pa.Table | pd.DataFrame, content_type: str = PARQUET) -> Path:
    if isinstance(table, pd.DataFrame):
        table = pa.Table.from_pandas(table)
    path.parent.mkdir(parents=True, exist_ok=True)
    if content_type == PARQUET:
        pq.write_table(table, path, row_group_size=70)
        return path
    new = pa.ipc.new_file if content_type == FILE else pa.ipc.new_stream
    with pa.OSFile(str(path), "wb") as sink, new(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=70)
    return path


def frame(rows: int = 200, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "label": generator.normal(size=rows),
            "price": np.where(generator.random(rows) < 0.1, np.nan, generator.normal(size=rows)),
            "small": generator.normal(size=rows).astype(np.float32),
            "year": generator.integers(1900, 2030, rows),
            "wide": generator.integers(0, 2**40, rows),
            "byte": generator.integers(0, 200, rows).astype(np.uint8),
            "pool": generator.random(rows) < 0.5,
            "town": pd.Categorical(generator.choice(["Ulm", "Rome", "Bonn"], rows)),
        }
    )


def refused(path: Path, content_type: str = PARQUET, **options) -> str:
    with pytest.raises(UserError) as caught:
        read_channel(path, content_type, **options)
    return str(caught.value)


@pytest.mark.parametrize("content_type", TYPES)
def test_the_model_is_that_of_pandas(tmp_path, content_type: str) -> None:
    given_frame = frame()
    save(tmp_path / "a", given_frame, content_type)
    parquet = save(tmp_path.parent / f"{tmp_path.name}.parquet", given_frame)
    expected = pd.read_parquet(parquet)
    dataset = read(tmp_path, content_type)
    reference = xgb.DMatrix(
        expected.drop(columns="label"), label=expected["label"], enable_categorical=True
    )
    matrix = dataset.matrix(1)
    assert matrix.feature_names == reference.feature_names
    assert matrix.feature_types == reference.feature_types
    assert model_bytes(matrix) == model_bytes(reference)
    assert (matrix.get_data() != reference.get_data()).nnz == 0


def test_numbers_take_four_bytes_where_they_can(tmp_path) -> None:
    save(tmp_path / "a", frame())
    dtypes = read(tmp_path, "parquet").features.dtypes.astype(str).to_dict()
    assert dtypes == {
        "price": "float32",
        "small": "float32",
        "year": "int32",
        "wide": "int64",
        "byte": "uint8",
        "pool": "bool",
        "town": "category",
    }


def test_what_is_no_plain_number_in_pandas(tmp_path) -> None:
    table = pa.table(
        {
            "label": pa.array([decimal.Decimal("1.50"), decimal.Decimal("2.25")]),
            "flag": pa.array([True, None]),
            "count": pa.array([None, 7], pa.int64()),
            "price": pa.array([decimal.Decimal("0.1"), None], pa.decimal128(10, 2)),
            "half": pa.array(np.array([1.5, 2], np.float16)),
            "none": pa.nulls(2),
        }
    )
    save(tmp_path / "a", table)
    dataset = read(tmp_path, PARQUET)
    assert dataset.label.tolist() == [1.5, 2.25]
    nan = np.nan
    np.testing.assert_array_equal(
        dataset.features.to_numpy(np.float32),
        np.array([[1, nan, 0.1, 1.5, nan], [nan, 7, nan, 2, nan]], np.float32),
    )
    assert {str(dtype) for dtype in dataset.features.dtypes} == {"float32"}


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())]
)
def test_texts_are_categories_over_all_files(tmp_path, kind: pa.DataType) -> None:
    for name, texts in (("a", ["Ulm", "Rome"]), ("b", ["Bonn", None]), ("c", ["Rome", "Ulm"])):
        array = pa.array(texts)
        array = array.dictionary_encode() if pa.types.is_dictionary(kind) else array
        save(tmp_path / name, pa.table({"y": [0.0, 1.0], "town": array.cast(kind)}))
    town = read(tmp_path, PARQUET).features["town"]
    sort = not pa.types.is_dictionary(kind)
    assert list(town.cat.categories) == (
        ["Bonn", "Rome", "Ulm"] if sort else ["Ulm", "Rome", "Bonn"]
    )
    texts = town.astype(object).where(town.notna(), None).tolist()
    assert texts == ["Ulm", "Rome", "Bonn", None, "Rome", "Ulm"]


def test_categories_that_are_numbers(tmp_path) -> None:
    table = pd.DataFrame({"y": [0.0, 1.0], "zone": pd.Categorical([7, 3])})
    save(tmp_path / "a", table, FILE)
    dataset = read(tmp_path, FILE)
    assert dataset.features["zone"].tolist() == [7, 3]
    assert dataset.matrix(1).feature_types == ["c"]


def test_files_whose_numbers_are_of_different_types(tmp_path) -> None:
    save(tmp_path / "a", pa.table({"y": [1, 2], "x": [True, False], "z": pa.nulls(2)}))
    save(tmp_path / "b", pa.table({"y": [0.5], "x": [7], "z": ["Ulm"]}))
    save(tmp_path / "c", pa.table({"y": [0.5], "x": [0.25], "z": ["Rome"]}))
    dataset = read(tmp_path, PARQUET)
    assert dataset.label.tolist() == [1, 2, 0.5, 0.5]
    assert dataset.features["x"].tolist() == [1, 0, 7, 0.25]
    assert dataset.features["z"].cat.codes.tolist() == [-1, -1, 1, 0]


def test_weights_and_several_labels(tmp_path) -> None:
    save(tmp_path / "a", pa.table({"y": [1, 2], "z": [3, 4], "w": [0.5, 1], "x": [7, 8]}))
    dataset = read(tmp_path, f"{PARQUET}; label_size=2", csv_weights=True)
    assert dataset.label.tolist() == [[1, 3], [2, 4]]
    assert dataset.weight.tolist() == [0.5, 1]
    assert list(dataset.features.columns) == ["x"]


def test_the_index_of_pandas_is_no_feature(tmp_path) -> None:
    table = frame(5)
    save(tmp_path / "a", table.set_index(pd.Index(range(7, 12), name="id")))
    save(tmp_path / "b", table.set_index(pd.Index([3, 1, 2, 5, 4])))
    assert list(read(tmp_path, PARQUET).features.columns) == list(table.columns[1:])


def test_directories_of_partitions_add_no_column(tmp_path) -> None:
    save(tmp_path / "year=2024" / "a.parquet", pa.table({"y": [1.0], "x": [2.0]}))
    assert list(read(tmp_path, PARQUET).features.columns) == ["x"]


def test_files_without_rows(tmp_path) -> None:
    table = pa.table({"y": [1.0], "x": ["Ulm"]})
    save(tmp_path / "a", table.slice(0, 0))
    message = refused(tmp_path)
    assert message == f"the channel {tmp_path} has files, but no row of data is in them"
    save(tmp_path / "b", table)
    assert read(tmp_path, PARQUET).rows == 1


DAY = datetime.date(2024, 1, 1)
ONLY = "a column must be numbers, booleans, or texts as categories: convert it or leave it out"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"y": [1.0, 2.0], "sold": [DAY, DAY]},
            f"train/b: column 'sold' is of the type date32[day]; {ONLY}",
        ),
        (
            {"y": [1.0, 2.0], "rooms": [[1], [2]]},
            f"train/b: column 'rooms' is of the type list<element: int64>; {ONLY}",
        ),
        (
            {"y": [1.0, None], "x": [1, 2]},
            "train/b, row 2, column 'y': the label is missing",
        ),
        (
            {"y": [1.0, float("inf")], "x": [1, 2]},
            "train/b, row 2, column 'y': the label is infinite or too large for a float32",
        ),
        (
            {"y": [1.0, 2.0], "x": [1.0, 1e39]},
            "train/b, row 2, column 'x': a value is infinite or too large for a float32",
        ),
        (
            {"y": pa.nulls(2, pa.float64()), "x": [1, 2]},
            "the label (column 'y') is missing in every row of the channel; the label is the first "
            "column",
        ),
        (
            {"y": ["yes", "no"], "x": [1, 2]},
            "train/b: column 'y' stands where the label is read, and holds texts; it must hold "
            "numbers",
        ),
        ({"y": [1.0, 2.0]}, "train/b: 1 column; a table is a label and features"),
        (
            {"y": [1.0, 2.0], "a[0]": [1, 2]},
            "train/b: a feature cannot be called 'a[0]': XGBoost takes no empty name, and none "
            "with [, ] or <",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path, columns: dict, message: str) -> None:
    save(tmp_path / "train" / "b", pa.table(columns))
    assert refused(tmp_path / "train") == message


def test_wrong_weights(tmp_path) -> None:
    save(tmp_path / "train" / "b", pa.table({"y": [1, 2], "w": [1, -1], "x": [1, 2]}))
    assert refused(tmp_path / "train", csv_weights=True) == (
        "train/b, row 2, column 'w': the weight is negative"
    )
    save(tmp_path / "train" / "b", pa.table({"y": [1, 2], "w": [1, None], "x": [1, 2]}))
    assert refused(tmp_path / "train", csv_weights=True) == (
        "train/b, row 2, column 'w': the weight is missing"
    )


def test_rows_are_counted_in_their_file(tmp_path) -> None:
    save(tmp_path / "train" / "a", pa.table({"y": [1.0] * 5, "x": [1.0] * 5}))
    save(tmp_path / "train" / "b", pa.table({"y": [1.0] * 3, "x": [1.0, 2.0, float("inf")]}))
    assert refused(tmp_path / "train").startswith("train/b, row 3, column 'x': ")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"y": [1.0]}, "train/b: 1 column where train/a has 2"),
        ({"y": [1.0], "z": [1]}, "train/b: column 2 is 'z', in train/a it is 'x'"),
        (
            {"y": [1.0], "x": ["Ulm"]},
            "train/b: column 'x' holds texts, in train/a it holds numbers",
        ),
    ],
)
def test_files_that_differ(tmp_path, columns: dict, message: str) -> None:
    save(tmp_path / "train" / "a", pa.table({"y": [1.0], "x": [2]}))
    save(tmp_path / "train" / "b", pa.table(columns))
    assert refused(tmp_path / "train") == message


def test_columns_of_the_same_name(tmp_path) -> None:
    table = pa.Table.from_arrays([pa.array([1.0])] * 3, ["y", "x", "x"])
    save(tmp_path / "train" / "a", table, FILE)
    assert refused(tmp_path / "train", FILE) == "train/a: 2 columns are called 'x'"


@pytest.mark.parametrize("content_type", TYPES)
def test_damaged_files(tmp_path, content_type: str) -> None:
    path = save(tmp_path / "train" / "a", frame(), content_type)
    path.write_bytes(path.read_bytes()[:-200])
    start = f"train/a cannot be read as {content_type}: "
    assert refused(tmp_path / "train", content_type).startswith(start)


NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)
ROWS = st.tuples(
    NUMBERS,
    st.one_of(NUMBERS, st.none()),
    st.integers(-(2**31), 2**31 - 1),
    st.one_of(st.none(), st.booleans()),
    st.one_of(st.none(), st.text(max_size=3)),
)


@settings(max_examples=60)
@given(rows=st.lists(ROWS, min_size=1, max_size=20), content_type=st.sampled_from(TYPES))
def test_any_table_is_read_back(tmp_path_factory, rows: list, content_type: str) -> None:
    path = tmp_path_factory.mktemp("channel")
    columns = list(zip(*rows, strict=True))
    kinds = [pa.float64(), pa.float64(), pa.int64(), pa.bool_(), pa.string()]
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    save(path / "a", pa.Table.from_arrays(arrays, list("yxibs")), content_type)
    dataset = read(path, content_type)
    np.testing.assert_array_equal(dataset.label, np.array(columns[0], np.float32))
    for name, column in zip("xib", columns[1:4], strict=True):
        found = dataset.features[name].to_numpy(np.float32)
        np.testing.assert_array_equal(found, np.array(column, np.float64).astype(np.float32))
    texts = dataset.features["s"]
    assert texts.astype(object).where(texts.notna(), None).tolist() == list(columns[4])
    assert list(texts.cat.categories) == sorted({text for text in columns[4] if text is not None})
