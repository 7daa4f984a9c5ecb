"""Categories of all kinds in every format: the same answers as XGBoost gives for the table."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xgboost as xgb
from hypothesis import given, settings
from hypothesis import strategies as st

from mme_handler import codecs
from mme_handler.codecs import Schema, chunks, text_csv
from mme_handler.codecs import tables as codec_tables
from mme_handler.codecs.arrays import recode
from mme_handler.errors import BadRequestError
from mme_handler.models.booster import adopt
from support.codecs import ARROW, PARQUET, arrow_stream, parquet

CSV, JSON, LINES = "text/csv", "application/json", "application/jsonlines"
NPY, NPZ = "application/x-npy", "application/x-npz"
NAN = np.nan

COUNT = 150
TABLE = pd.DataFrame(
    {
        "c": pd.Categorical([10, 20, 30] * 50),
        "n": np.random.default_rng(0).normal(size=COUNT),
        "s": pd.Categorical(["1", "2", "3", "2", "1"] * 30),
        "t": pd.Categorical(["red", "NA", "blue"] * 50, categories=["red", "blue", "NA"]),
        "id": pd.Categorical([2**60 + 1, -5, 2**60, 7, 0] * 30),
    }
)
TABLE.loc[[4, 17], "c"] = None
TABLE.loc[5, "n"] = None


@pytest.fixture(scope="module")
def booster() -> xgb.Booster:
    target = sum(TABLE[name].cat.codes * 3**i for i, name in enumerate(["c", "s", "t", "id"]))
    data = xgb.DMatrix(TABLE, target + TABLE["n"].fillna(0), enable_categorical=True)
    return xgb.train({"max_depth": 4, "nthread": 1, "max_cat_to_onehot": 1}, data, 12)


@pytest.fixture(scope="module")
def schema(booster: xgb.Booster) -> Schema:
    info = adopt(booster).info
    return Schema(info.features, info.feature_names, info.categories or {})


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    found = table.astype(object).where(table.notna(), None).to_dict("records")
    return [{k: v.item() if isinstance(v, np.generic) else v for k, v in r.items()} for r in found]


def rows(table: pd.DataFrame) -> list[list[Any]]:
    return [list(record.values()) for record in records(table)]


def csv(table: pd.DataFrame, **options: Any) -> bytes:
    # pandas writes a missing value as nothing, so NA is the category.
    return table.to_csv(index=False, **options).encode()


def table_parquet(table: pd.DataFrame) -> bytes:
    stream = io.BytesIO()
    table.to_parquet(stream)
    return stream.getvalue()


FORMATS: list[tuple[str, str, Callable[[pd.DataFrame], bytes]]] = [
    ("header", CSV, csv),
    ("order", CSV, lambda t: csv(t[t.columns[::-1]])),
    ("bare", CSV, lambda t: csv(t, header=False)),
    ("quoted", CSV, lambda t: csv(t, quoting=1)),
    ("semicolons", CSV, lambda t: csv(t, sep=";", header=False)),
    ("rows", JSON, lambda t: json.dumps(rows(t)).encode()),
    ("records", JSON, lambda t: json.dumps(records(t)).encode()),
    ("texts", JSON, lambda t: json.dumps([[*map(as_text, row)] for row in rows(t)]).encode()),
    ("lines", LINES, lambda t: "\n".join(map(json.dumps, rows(t))).encode()),
    ("parquet", PARQUET, table_parquet),
    ("plain", PARQUET, lambda t: parquet(plain(t))),
    ("arrow", ARROW, lambda t: arrow_stream(pa.Table.from_pandas(t, preserve_index=False))),
    ("plain", ARROW, lambda t: arrow_stream(plain(t))),
]


def as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) else value


def plain(table: pd.DataFrame) -> pa.Table:
    """The table without dictionaries."""
    return pa.Table.from_pylist(records(table))


@pytest.mark.parametrize("count", [1, 3, COUNT])
@pytest.mark.parametrize(("kind", "content_type", "write"), FORMATS)
def test_the_same_as_the_table(booster, schema, kind, content_type, write, count):
    table = TABLE[:count]
    matrix = codecs.decode(write(table), content_type, schema)
    data = xgb.DMatrix(matrix, feature_names=list(TABLE), feature_types=booster.feature_types,
                       enable_categorical=True)  # fmt: skip
    expected = booster.predict(xgb.DMatrix(table, enable_categorical=True))
    np.testing.assert_array_equal(booster.predict(data), expected)
    codes = [table[n] if n == "n" else table[n].cat.codes.replace(-1, NAN) for n in table]
    np.testing.assert_array_equal(matrix, np.column_stack(codes).astype(np.float32))


def test_large_bodies(schema, monkeypatch):
    large = pd.concat([TABLE] * 60, ignore_index=True).astype(TABLE.dtypes)
    for kind, content_type, write in FORMATS:
        small = codecs.decode(write(TABLE), content_type, schema)
        read = codecs.decode(write(large), content_type, schema)
        np.testing.assert_array_equal(read, np.tile(small, (60, 1)), kind)


# Columns: integers, texts like numbers, texts, codes alone, a number.
MIXED = Schema(
    5,
    ("c", "s", "t", "k", "n"),
    {0: {"10": 0, "20": 1, "30": 2}, 1: {"1": 0, "02": 1, "x": 2}, 2: {"red": 0, "blue": 1}, 3: {}},
)
GOOD = [
    (CSV, "10,1,red,7,1", [0, 0, 0, 7, 1]),
    (CSV, ' 20.0 ,"02","blue",7,1', [1, 1, 1, 7, 1]),
    (CSV, "2e1,2,1,7,1", [1, 1, 1, 7, 1]),
    (CSV, "+30, 1 ,0,0,.5", [2, 0, 0, 0, 0.5]),
    (CSV, ",,,,", [NAN] * 5),
    (CSV, "nan,NA,null,,", [NAN] * 5),
    (CSV, "n,k,t,s,c\n1,7,red,x,30", [2, 2, 0, 7, 1]),
    (CSV, "n,k,t,s,c\n1,7,1,2,30", [2, 1, 1, 7, 1]),
    (JSON, "[[10, 1, 1, 7, 1]]", [0, 0, 1, 7, 1]),
    (JSON, '[["10", "1", "red", 7, 1]]', [0, 0, 0, 7, 1]),
    (JSON, '[[20.0, 2, "red", 7, 1]]', [1, 1, 0, 7, 1]),
    (JSON, '[["20.0", "02", null, 7, 1]]', [1, 1, NAN, 7, 1]),
    (JSON, '[["NaN", "NA", "null", 7, 1]]', [NAN, NAN, NAN, 7, 1]),
]
CODE = "is neither a category of the model nor the code of one, 0 to 1; known are 'red', 'blue'"
BAD = [
    (CSV, "40,1,red,7,1", "line 1, 'c': 40 is not a category of the model; known are '10', '20'"),
    (CSV, "0,1,red,7,1", "line 1, 'c': 0 is not a category of the model"),
    (CSV, "10,3,0,7,1", "line 1, 's': 3 is not a category of the model; known are '1', '02'"),
    (CSV, "10,1,2,7,1", f"line 1, 't': 2 {CODE}"),
    (CSV, "10,1,-1,7,1", f"line 1, 't': -1 {CODE}"),
    (CSV, "10,1,0.5,7,1", f"line 1, 't': 0.5 {CODE}"),
    (CSV, "10,1,red,7,1\n10.5,1,blue,7,1", "line 2, 'c': 10.5 is not a category of the model"),
    (CSV, "n,k,t,s,c\n1,7,red,1,0", "line 2, 'c': 0 is not a category of the model"),
    (JSON, "[[0, 1, 1, 7, 1]]", "row 1, 'c': 0 is not a category of the model; known are '10'"),
    (JSON, '[["5", 1, 1, 7, 1]]', "row 1, 'c': '5' is not a category of the model"),
    (JSON, "[[10, 0, 1, 7, 1]]", "row 1, 's': 0 is not a category of the model; known are '1'"),
    (JSON, "[[10, 1, 2, 7, 1]]", f"row 1, 't': 2 {CODE}"),
    (JSON, "[[10, 1, 1e300, 7, 1]]", f"row 1, 't': 1e+300 {CODE}"),
    (JSON, "[[true, 1, 1, 7, 1]]", "row 1, 'c': true is not a number"),
    (JSON, "[[10, 1, [1], 7, 1]]", "row 1, 't': a list is not a number"),
    (JSON, '[[10, 1, "1", 7, 1]]', "row 1, 't': '1' is not a category of the model"),
]  # fmt: skip


@pytest.mark.parametrize(("content_type", "text", "expected"), GOOD)
def test_good(content_type, text, expected):
    read = codecs.decode(text.encode(), content_type, MIXED)
    np.testing.assert_array_equal(read, np.float32([expected]))


@pytest.mark.parametrize(("content_type", "text", "message"), BAD)
def test_bad(content_type, text, message):
    with pytest.raises(BadRequestError) as caught:
        codecs.decode(text.encode(), content_type, MIXED)
    assert str(caught.value).startswith(message)


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


ROW = [20, 2, 1, 9, 0.5]
NUMBERS = [
    (NPY, npy(np.array([ROW, [NAN] * 5]))),
    (NPY, npy(np.float32([ROW, [NAN] * 5]))),
    (NPY, npy(np.array([tuple(ROW), (NAN,) * 5], [(n, ">f2") for n in MIXED.names]))),
    (ARROW, arrow_stream(pa.table([[v, None] for v in ROW], names=MIXED.names))),
    (PARQUET, parquet(pa.table([[v, None] for v in ROW], names=MIXED.names))),
    (ARROW, arrow_stream(pa.table({"list": [[float(v) for v in ROW], [None] * 5]}))),
]


@pytest.mark.parametrize(("content_type", "body"), NUMBERS)
def test_numbers(content_type, body):
    read = codecs.decode(body, content_type, MIXED)
    np.testing.assert_array_equal(read, np.float32([[1, 1, 1, 9, 0.5], [NAN] * 5]))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (0, 0, "'c': 0 is not a category of the model; known are '10', '20', '30'"),
        (0, 10.5, "'c': 10.5 is not a category of the model"),
        (0, np.inf, "'c': inf is not a category of the model"),
        (1, 3, "'s': 3 is not a category of the model"),
        (2, 2, f"'t': 2 {CODE}"),
        (2, -1, f"'t': -1 {CODE}"),
        (2, 0.5, f"'t': 0.5 {CODE}"),
        (3, np.inf, "'k': inf is infinite or too large"),
    ],
)
def test_numbers_that_stand_for_nothing(column, value, message):
    values = np.array([ROW, ROW], np.float64)
    values[1, column] = value
    table = pa.table(list(values.T.copy()), names=MIXED.names)
    for content_type, body in [(NPY, npy(values)), (ARROW, arrow_stream(table))]:
        with pytest.raises(BadRequestError) as caught:
            codecs.decode(body, content_type, MIXED)
        assert str(caught.value).startswith(f"row 2, {message}")
    matrix = values.astype(np.float32)
    if column != 3:
        with pytest.raises(BadRequestError) as caught:
            recode(matrix, MIXED)
        assert str(caught.value).startswith(f"row 2, {message}")


def test_numbers_are_recoded_in_place():
    matrix = np.float32([ROW, [NAN] * 5] * 9000)
    recode(matrix, MIXED)
    np.testing.assert_array_equal(matrix, np.float32([[1, 1, 1, 9, 0.5], [NAN] * 5] * 9000))


def test_npz():
    stream = io.BytesIO()
    np.savez(stream, **{n: np.array([v]) for n, v in zip(MIXED.names, ROW, strict=True)})
    read = codecs.decode(stream.getvalue(), NPZ, MIXED)
    np.testing.assert_array_equal(read, np.float32([[1, 1, 1, 9, 0.5]]))


IDS = Schema(1, None, {0: {"16777216": 0, "16777217": 1, "9007199254740993": 2, "5": 3}})


def test_integers_are_told_apart_where_the_type_can():
    ids = [16777216, 16777217, 9007199254740993, 5]
    for content_type, body in [
        (NPY, npy(np.array(ids)[:, None])),
        (ARROW, arrow_stream(pa.table({"f0": ids}))),
        (JSON, json.dumps([[i] for i in ids]).encode()),
        (CSV, "\n".join(map(str, ids)).encode()),
        (CSV, "\n".join(map("+{}".format, ids)).encode()),
    ]:
        assert codecs.decode(body, content_type, IDS).ravel().tolist() == [0, 1, 2, 3]
    assert codecs.decode(npy(np.float64([[2.0**53]])), NPY, IDS) == 2  # as numpy rounds it
    assert codecs.decode(npy(np.float32([[5]])), NPY, IDS) == 3
    with pytest.raises(BadRequestError, match="row 1, column 1: 16777216 is not a category"):
        codecs.decode(npy(np.float32([[16777216]])), NPY, IDS)  # it may be one of two
    with pytest.raises(BadRequestError, match="9007199254740992 is not a category"):
        codecs.decode(b"9007199254740992", CSV, IDS)


ZIPS = Schema(1, None, {0: {"01": 0, "1": 1, "02": 2, "2.0": 3, "9" * 30: 4}})


def test_texts_that_read_as_the_same_number():
    read = codecs.decode(b"1\n01\n02\n2.0\n1.0\n" + b"9" * 30, CSV, ZIPS)
    assert read.ravel().tolist() == [1, 0, 2, 3, 1, 4]
    for body, content_type in ((b"2", CSV), (b"[2]", JSON), (npy(np.array([2])), NPY)):
        with pytest.raises(BadRequestError, match=r"2 is not a category"):
            codecs.decode(body, content_type, ZIPS)


def test_the_missing_number_is_no_category_unless_the_model_has_it():
    schema = Schema(2, None, {0: {"10": 0, "-9": 1}, 1: {"a": 0}}, missing=-9)
    expected = np.float32([[1, NAN]])
    for body, content_type in [
        (b"-9,-9", CSV),
        (b'"-9.0",-9', CSV),
        (b"[-9, -9]", JSON),
        (npy(np.array([-9, -9])), NPY),
    ]:
        np.testing.assert_array_equal(codecs.decode(body, content_type, schema), expected)


cells = st.sampled_from(["10", "20.0", " 30", "2", "02", "x", "red", "1", "0", "", "nan", "+1"])


@settings(max_examples=200)
@given(st.lists(st.tuples(*[cells] * 5).map(",".join), min_size=1, max_size=4), st.booleans())
def test_csv_by_the_fast_way_and_by_the_slow(lines, header):
    def read() -> object:
        try:
            return codecs.decode(body, CSV, MIXED).tobytes()
        except BadRequestError as error:
            return str(error)

    body = "\n".join(["t,c,n,s,k"] * header + lines).encode()
    fast = read()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_csv, "_fast", lambda *_: None)
        if not header and "names" not in str(fast):
            body = b"c,s,t,k,n\n" + body
            slow = read()
            assert slow == fast or "line" in str(slow)
        else:
            assert read() == fast


def test_categories_as_tensors():
    names = MIXED.names
    tensors = [
        {"name": n, "shape": [1], "datatype": "FP64", "data": [v]}
        for n, v in zip(names, ROW, strict=True)
    ]
    read = codecs.decode(json.dumps({"inputs": tensors}).encode(), JSON, MIXED)
    np.testing.assert_array_equal(read, np.float32([[1, 1, 1, 9, 0.5]]))


def test_a_table_of_many_rows_is_converted_in_slices(monkeypatch):
    pauses, sizes = [], []
    monkeypatch.setattr(chunks.time, "sleep", pauses.append)

    def counted(array):
        sizes.append(len(array))
        return numbers(array)

    numbers = codec_tables.numbers
    monkeypatch.setattr(codec_tables, "numbers", counted)
    count = 100 * chunks.CHUNK_VALUES
    tables = [
        pa.table({"f0": pa.nulls(count)}),
        pa.table({"f0": np.zeros(count)}),
        pa.table({"f0": pa.array(["red"]).dictionary_encode().take(pa.nulls(count, pa.int8()))}),
        pa.table({"x": pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(count)), 1)}),
    ]
    for table in tables:
        pauses.clear()
        read = codecs.decode(arrow_stream(table), ARROW, Schema(1, None, {0: {"0": 0, "red": 1}}))
        assert len(read) == count
        assert len(pauses) >= 99
    assert len(sizes) == 300
    assert max(sizes) == chunks.CHUNK_VALUES


def test_slices_of_arrow_change_nothing(monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_VALUES", 3)
    rng = np.random.default_rng(1)
    lost = rng.random(50) < 0.3
    arrays = {
        "f0": pa.array(rng.normal(size=50), mask=lost),
        "f1": pa.array(rng.random(50) < 0.5, mask=lost),
        "f2": pa.array(rng.integers(0, 9, 50), pa.int16(), mask=lost).dictionary_encode(),
        "f3": pa.array(rng.choice(["a", "b"], 50), mask=lost),
        "f4": pa.array(rng.choice(["a", "b"], 50), mask=lost).dictionary_encode(),
    }
    schema = Schema(5, None, {3: {"a": 0, "b": 1}, 4: {"a": 0, "b": 1}})
    read = codecs.decode(arrow_stream(pa.table(arrays)), ARROW, schema)
    for column, array in enumerate(arrays.values()):
        values = [{"a": 0, "b": 1}.get(v, v) for v in array.to_pylist()]
        np.testing.assert_array_equal(read[:, column], np.array(values, float).astype(np.float32))
    lists = pa.array([None if v is None else v for v in read[:, 0].tolist()] * 2, pa.float32())
    nested = pa.ListArray.from_arrays(np.arange(0, 101, 5, dtype=np.int32), lists)
    again = codecs.decode(arrow_stream(pa.table({"x": nested})), ARROW, Schema(5))
    np.testing.assert_array_equal(again.ravel(), np.tile(read[:, 0], 2))
