"""Arrow streams and Parquet files: columns by name, categories, and what is refused."""

from __future__ import annotations

import io
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mme_handler import codecs
from mme_handler.codecs import Output, Schema
from mme_handler.errors import BadRequestError, RequestTooLargeError
from support.codecs import ARROW, PARQUET, arrow_stream, parquet

NAMED = Schema(2, names=("a", "b"))
COLORS = Schema(2, names=("size", "color"), categories={1: {"red": 0, "blue": 1}})
quick = settings(max_examples=60, deadline=2000)
both = pytest.mark.parametrize("content_type", [ARROW, PARQUET])


def write(table, content_type, **options) -> bytes:
    table = table if isinstance(table, pa.Table) else pa.table(table)
    return (arrow_stream if content_type == ARROW else parquet)(table, **options)


def decode(table, content_type, schema=NAMED, **options) -> np.ndarray:
    return codecs.decode(write(table, content_type, **options), content_type, schema)


def error(table, content_type, schema=NAMED) -> str:
    with pytest.raises(BadRequestError) as caught:
        decode(table, content_type, schema)
    assert len(str(caught.value)) < 700
    return str(caught.value)


bits = hnp.arrays(np.uint32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6))


@quick
@given(bits, st.sampled_from([ARROW, PARQUET]), st.booleans())
def test_float32_survives_bit_for_bit(values, content_type, as_list):
    matrix = values.view(np.float32)
    matrix[np.isinf(matrix)] = 0
    columns = {f"f{i}": pa.array(column) for i, column in enumerate(matrix.T.copy())}
    flat = pa.array(matrix.ravel())
    lists = {"x": pa.FixedSizeListArray.from_arrays(flat, matrix.shape[1])}
    read = decode(lists if as_list else columns, content_type, Schema(matrix.shape[1]))
    assert read.dtype == np.float32
    assert read.flags.c_contiguous
    assert read.flags.writeable
    np.testing.assert_array_equal(read.view(np.uint32), matrix.view(np.uint32))


@quick
@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements=st.floats(width=32, allow_infinity=False),
    ),
    st.sampled_from([ARROW, PARQUET]),
)
def test_what_is_written_is_read(scores, content_type):
    body = codecs.encode(scores, content_type).body
    read = codecs.decode(body, content_type, Schema(scores.shape[1]))
    np.testing.assert_array_equal(read, scores)


@both
def test_names(content_type):
    assert decode({"b": [1, 2], "a": [3, 4]}, content_type).tolist() == [[3, 1], [4, 2]]
    assert decode({"x": [1, 2], "y": [3, 4]}, content_type, Schema(2)).tolist() == [[1, 3], [2, 4]]
    assert "unknown: 'c'; missing: 'b'" in error({"a": [1], "c": [2]}, content_type)
    assert "missing: 'b'" in error({"a": [1]}, content_type)
    doubled = pa.table([[1], [2], [3]], names=["a", "b", "b"])
    assert "doubled: 'b'" in error(doubled, content_type)


@both
def test_the_index_of_pandas_is_left_out(content_type):
    table = {"__index_level_0__": ["x", "y"], "b": [1, 2], "a": [3, 4]}
    assert decode(table, content_type).tolist() == [[3, 1], [4, 2]]


NUMBERS = [
    pa.array([1, None, 0], kind)
    for kind in map(
        pa.type_for_alias,
        ["int8", "uint8", "int16", "int32", "uint64", "int64", "float16", "float32", "float64"],
    )
] + [
    pa.array([True, None, False]),
    pa.array([Decimal("1.00"), None, Decimal("0.00")], pa.decimal128(5, 2)),
    pa.array([Decimal("1.00"), None, Decimal("0.00")], pa.decimal256(50, 2)),
]


@both
@pytest.mark.parametrize("array", NUMBERS, ids=lambda array: str(array.type))
def test_every_type_of_number(content_type, array):
    read = decode({"b": [0.5, 1.5, 2.5], "a": array}, content_type)
    np.testing.assert_array_equal(read[:, 0], np.float32([1, np.nan, 0]))


@both
def test_nulls_and_the_missing_number(content_type):
    table = {"a": pa.nulls(2), "b": [-9.0, 1.0]}
    read = decode(table, content_type, Schema(2, ("a", "b"), missing=-9))
    np.testing.assert_array_equal(read, np.float32([[np.nan, np.nan], [np.nan, 1]]))


@both
def test_a_long_integer_rounds_as_in_a_text(content_type):
    number = 2**54 + 2**30 + 1
    read = decode({"f0": [number]}, content_type, Schema(1))
    assert read == codecs.decode(str(number).encode(), "text/csv", Schema(1))


@both
@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), "dictionary", pa.dictionary(pa.int8(), pa.large_string())],
)
def test_categories(content_type, kind):
    colors = pa.array(["blue", None, "red", "blue", "green"])
    colors = colors.dictionary_encode() if kind == "dictionary" else colors.cast(kind)
    table = {"color": colors.slice(0, 4), "size": [1, 2, 3, 4]}
    read = decode(table, content_type, COLORS)
    np.testing.assert_array_equal(read[:, 1], np.float32([1, np.nan, 0, 1]))
    message = error({"color": colors, "size": [1, 2, 3, 4, 5]}, content_type, COLORS)
    assert "'color': 'green' is not a category of the model" in message
    codes = {"color": [1, 0], "size": [1, 2]}
    assert decode(codes, content_type, COLORS)[:, 1].tolist() == [1, 0]


@both
@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.large_list(pa.int64())])
def test_lists(content_type, kind):
    table = {"features": pa.array([[1, 2], [3, None]], kind)}
    read = decode(table, content_type)
    np.testing.assert_array_equal(read, np.float32([[1, 2], [3, np.nan]]))
    wrong = {"x": pa.array([[1, 2], [3], [4, 5]], kind)}
    assert "row 2: got 1 value, the model takes 2" in error(wrong, content_type)
    null = {"x": pa.array([[1, 2], None], kind)}
    assert "row 2: expected a list of numbers, got null" in error(null, content_type)
    texts = {"x": pa.array([["a", "b"]])}
    assert '"x": lists of the type list<' in error(texts, content_type)


@both
def test_many_batches(content_type):
    table = pa.table({"a": np.arange(1000), "b": np.arange(1000.0)})
    option = "row_group_size" if content_type == PARQUET else None
    if option:
        body = parquet(table, row_group_size=100)
    else:
        body = arrow_stream(pa.Table.from_batches(table.to_batches(max_chunksize=100)))
    assert codecs.decode(body, content_type, NAMED)[:, 1].tolist() == list(range(1000))


@both
def test_wrong_values(content_type):
    assert "row 2, 'b': inf is" in error({"a": [1.0, 2], "b": [0, np.inf]}, content_type)
    assert "row 1, 'a': -1e+300 is" in error({"a": [-1e300], "b": [0]}, content_type)
    huge = {"a": pa.array([Decimal(10) ** 60], pa.decimal256(70, 0)), "b": [1]}
    assert "row 1, 'a': 1e+60 is" in error(huge, content_type)
    lists = {"x": pa.array([[1.0, 2.0], [3.0, np.inf]])}
    assert "row 2, 'b': inf is" in error(lists, content_type)


@both
@pytest.mark.parametrize(
    ("column", "name"),
    [
        (["x"], "string"),
        ([b"x"], "binary"),
        ([[1.0]], "list<"),
        ([{"x": 1}], "struct<"),
        (pa.array([0], pa.timestamp("us")), "timestamp"),
        (pa.array(["x"]).dictionary_encode(), "dictionary<"),
    ],
)
def test_wrong_types(content_type, column, name):
    message = error({"a": [1], "b": column}, content_type)
    assert message.startswith(f"'b': a column of the type {name}")
    assert message.endswith("send numbers")


@both
@pytest.mark.parametrize("kind", [pa.int8(), pa.float32(), pa.bool_(), pa.decimal128(9, 1)])
def test_a_dictionary_of_numbers_is_its_numbers(content_type, kind):
    array = pa.array([1, None, 0, 1], pa.int8())
    encoded = array.cast(kind, safe=False).dictionary_encode().slice(1)
    read = decode({"size": encoded, "color": encoded}, content_type, COLORS)
    np.testing.assert_array_equal(read, np.float32([[np.nan] * 2, [0, 0], [1, 1]]))
    if content_type == ARROW:  # in Parquet it is stored as numbers
        codes = Schema(1, ("a",), categories={0: {}})
        assert "'a': a column of the type dict" in error({"a": encoded}, content_type, codes)
    message = error({"a": [1], "b": pa.array([b"1"]).dictionary_encode()}, content_type)
    assert message.endswith("send numbers")


@both
def test_no_rows(content_type):
    table = pa.table({"a": pa.array([], pa.float32()), "b": pa.array([], pa.int8())})
    assert error(table, content_type) == "the body has no rows; send at least one"
    assert error(pa.table({}), content_type)


@both
def test_too_many_rows(content_type, monkeypatch):
    monkeypatch.setattr("mme_handler.codecs.schema.MAX_CELLS", 100)
    with pytest.raises(RequestTooLargeError, match="send at most 50 rows"):
        decode({"a": pa.nulls(51), "b": pa.nulls(51)}, content_type)


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_arrow_compression(compression):
    table = {"a": np.arange(500.0), "b": np.zeros(500)}
    assert decode(table, ARROW, compression=compression)[:, 0].tolist() == list(range(500))


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "brotli", "lz4"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_parquet_compression(compression, version):
    table = {"a": np.arange(500.0), "b": np.zeros(500)}
    read = decode(table, PARQUET, compression=compression, data_page_version=version)
    assert read[:, 0].tolist() == list(range(500))


OUTPUTS = [
    Output("label", np.array([1, 0])),
    Output("probabilities", np.float32([[0.25, 0.75], [0.5, 0.5]])),
    Output("contributions", np.float32([[1, 2], [3, 4]]), ("a", "bias")),
    Output("classes", np.arange(8, dtype=np.float32).reshape(2, 2, 2), ("a", "bias")),
    Output("pairs", np.arange(8, dtype=np.float32).reshape(2, 2, 2), ("a", "bias"), axes=2),
]


@both
def test_encode_several_outputs(content_type):
    body = codecs.encode(OUTPUTS, content_type).body
    if content_type == ARROW:
        table = pa.ipc.open_stream(body).read_all()
    else:
        table = pq.ParquetFile(io.BytesIO(body)).read(use_threads=False)
    assert table.schema.field("label").type == pa.int64()
    assert table.schema.field("probabilities").type.list_size == 2
    first, second = table.to_pylist()
    assert first["label"] == 1
    assert first["probabilities"] == [0.25, 0.75]
    assert second["contributions"] == {"a": 3, "bias": 4}
    assert first["classes"] == [{"a": 0, "bias": 1}, {"a": 2, "bias": 3}]
    assert second["pairs"] == {"a": {"a": 4, "bias": 5}, "bias": {"a": 6, "bias": 7}}


@both
def test_encode_scores(content_type):
    body = codecs.encode(np.float32([0.5, np.nan, np.inf]), content_type).body
    table = pa.ipc.open_stream(body).read_all() if content_type == ARROW else None
    table = table or pq.ParquetFile(io.BytesIO(body)).read(use_threads=False)
    assert table.schema == pa.schema([("score", pa.float32())])
    np.testing.assert_array_equal(table["score"].to_numpy(), np.float32([0.5, np.nan, np.inf]))


def test_pyarrow_is_imported_only_on_demand():
    code = "import sys, mme_handler.codecs; sys.exit('pyarrow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
