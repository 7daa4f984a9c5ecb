"""Arrow and Parquet bodies that lie: a result or a refusal, in bounded time and memory."""

from __future__ import annotations

import resource
import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mme_handler import codecs
from mme_handler.codecs import Schema, arrow, parquet_pages, tables, thrift
from mme_handler.errors import BadRequestError, MmeError, RequestTooLargeError
from support.codecs import ARROW, PARQUET, arrow_stream, parquet

SCHEMA = Schema(2, names=("a", "b"), categories={1: {"x": 0, "y": 1}})


def tabled(b) -> pa.Table:
    return pa.table({"a": [1.5, None, 3.5], "b": b})


GOOD = [
    tabled([1, None, 2]),
    tabled(["x", "y", None]),
    tabled(pa.array(["x", None, "y"]).dictionary_encode()),
    pa.table({"l": [[1.0, 2.0], [3.0, None]]}),
]
BODIES = {
    ARROW: [arrow_stream(t, compression=c) for t in GOOD for c in (None, "lz4")],
    PARQUET: [
        parquet(t, compression=c, data_page_version=v, use_dictionary=d)
        for t in GOOD
        for c, v, d in [("snappy", "1.0", True), ("zstd", "2.0", False)]
    ],
}


@st.composite
def damaged(draw):
    content_type = draw(st.sampled_from([ARROW, PARQUET]))
    body = bytearray(draw(st.sampled_from(BODIES[content_type])))
    for _ in range(draw(st.integers(1, 4))):
        body[draw(st.integers(0, len(body) - 1))] = draw(
            st.sampled_from([0, 1, 127, 128, 255]) | st.integers(0, 255)
        )
    if draw(st.integers(0, 3)) == 0:
        del body[draw(st.integers(1, len(body))) :]
    return bytes(body), content_type


arbitrary = st.tuples(st.binary(min_size=1, max_size=100), st.sampled_from([ARROW, PARQUET]))


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


@settings(max_examples=600, deadline=5000)
@given(damaged() | arbitrary)
def test_any_body_is_a_matrix_or_refused(request):
    before = peak()
    status = 0
    try:
        matrix = codecs.decode(*request, SCHEMA)
    except MmeError as refused:
        status = refused.status
    assert peak() - before < 300 << 20
    if status:
        assert 400 <= status < 500
        return
    assert matrix.shape[1] == 2
    assert matrix.dtype == np.float32
    assert not np.isinf(matrix).any()


@pytest.mark.parametrize("content_type", [ARROW, PARQUET])
@pytest.mark.parametrize("kind", range(len(GOOD) * 2))
def test_every_truncation_is_refused(content_type, kind):
    body = BODIES[content_type][kind]
    for end in range(1, len(body) - 8, 7):  # an Arrow stream may end without its last mark
        with pytest.raises(BadRequestError) as caught:
            codecs.decode(body[:end], content_type, SCHEMA)
        assert len(str(caught.value)) < 400


@pytest.fixture
def small(monkeypatch):
    for module in (arrow, parquet_pages, tables):
        monkeypatch.setattr(module, "MAX_UNPACKED", 4 << 20)


ZEROS = pa.table({"a": np.zeros(500_000), "b": np.zeros(500_000)})


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (arrow_stream(ZEROS, compression="zstd"), ARROW),
        (arrow_stream(ZEROS), ARROW),
        *[
            (parquet(ZEROS, compression=c, use_dictionary=False, data_page_version=v), PARQUET)
            for c in ("snappy", "zstd", "gzip")
            for v in ("1.0", "2.0")
        ],
    ],
)
def test_bombs(body, content_type):
    with pytest.raises(RequestTooLargeError, match="bytes when it is unpacked; send at most"):
        codecs.decode(body, content_type, SCHEMA)


def test_a_compressed_buffer_that_lies():
    table = pa.table({"a": np.zeros(1000), "b": np.zeros(1000)})
    body = arrow_stream(table, compression="lz4")
    says = (8000).to_bytes(8, "little")
    assert says in body
    lie = body.replace(says, (1 << 40).to_bytes(8, "little"))
    with pytest.raises(RequestTooLargeError, match="unpacked"):
        codecs.decode(lie, ARROW, SCHEMA)
    lie = body.replace(says, (-2).to_bytes(8, "little", signed=True))
    with pytest.raises(BadRequestError, match="negative size"):
        codecs.decode(lie, ARROW, SCHEMA)
    lie = body.replace(says, (7000).to_bytes(8, "little"))
    with pytest.raises(BadRequestError, match="not a valid Arrow stream"):
        codecs.decode(lie, ARROW, SCHEMA)


def test_a_page_that_lies():
    table = pa.table({"a": np.zeros(10_000), "b": np.zeros(10_000)})
    body = bytearray(parquet(table, compression="zstd", use_dictionary=False))
    size = thrift.Thrift(memoryview(body)).struct(4)[0][2, thrift.I32]
    assert size > 1 << 14
    length = 3  # of the size as a varint, which starts behind 15 00 15
    body[7 : 7 + length] = b"\xff\xff\x7f"  # a negative one
    with pytest.raises(BadRequestError, match="negative size"):
        codecs.decode(bytes(body), PARQUET, SCHEMA)
    body[7 : 7 + length] = b"\xfe\xff\x7f"
    with pytest.raises(BadRequestError, match="not a valid Parquet file"):
        codecs.decode(bytes(body), PARQUET, SCHEMA)


def test_offsets_out_of_bounds_do_not_end_the_process():
    body = arrow_stream(tabled(["x", "y", None]))
    offsets = np.int32([0, 1, 2, 2]).tobytes()
    assert offsets in body
    for wrong in ([0, 1, 2**31 - 1, 2**31 - 1], [-5, 1, 2, 2], [2, 1, 0, 0]):
        with pytest.raises(BadRequestError, match="not a valid Arrow stream"):
            codecs.decode(body.replace(offsets, np.int32(wrong).tobytes()), ARROW, SCHEMA)


def test_codes_out_of_bounds_do_not_end_the_process():
    body = arrow_stream(tabled(pa.array(["x", "y", "x"]).dictionary_encode()))
    codes = np.int32([0, 1, 0]).tobytes()
    assert codes in body
    wrong = body.replace(codes, np.int32([0, 1 << 30, -1]).tobytes())
    with pytest.raises(BadRequestError, match="not a valid Arrow stream"):
        codecs.decode(wrong, ARROW, SCHEMA)


@pytest.mark.parametrize("rows", [1 << 40, 1 << 62])
def test_rows_that_take_no_bytes(rows):
    schema = pa.schema([("a", pa.null()), ("b", pa.null())])
    batch = pa.record_batch([pa.nulls(7), pa.nulls(7)], schema=schema)
    body = arrow_stream(pa.Table.from_batches([batch]))
    lie = body.replace((7).to_bytes(8, "little"), rows.to_bytes(8, "little"))
    with pytest.raises(MmeError) as caught:
        codecs.decode(lie, ARROW, SCHEMA)
    assert 400 <= caught.value.status < 500


def test_a_long_text_for_every_row_is_not_spelled_out():
    rows = 200_000
    dictionary = pa.array(["x" * 1_000_000, "y"])
    codes = np.zeros(rows, np.int8)
    texts = pa.DictionaryArray.from_arrays(codes, dictionary)
    table = pa.table({"a": np.zeros(rows), "b": texts})
    before = peak()
    for body, kind in ((arrow_stream(table), ARROW), (parquet(table, store_schema=False), PARQUET)):
        started = time.process_time()
        with pytest.raises(BadRequestError, match=r"\.\.\.' is not a category of the model"):
            codecs.decode(body, kind, SCHEMA)
        assert time.process_time() - started < 2
    assert peak() - before < 100 << 20


def test_prefixes_are_refused():
    table = tabled(["x", "y", None])
    encoding = {"b": "DELTA_BYTE_ARRAY"}
    for version in ("1.0", "2.0"):
        options = {"use_dictionary": False, "data_page_version": version}
        with pytest.raises(BadRequestError, match="DELTA_BYTE_ARRAY are not accepted"):
            codecs.decode(parquet(table, column_encoding=encoding, **options), PARQUET, SCHEMA)


def test_numbers_in_byte_arrays_are_refused():
    table = pa.table({"__index_level_0__": pa.array([b"x" * 40], pa.binary(40))})
    table = table.append_column("a", [[1]]).append_column("b", [[2]])
    with pytest.raises(BadRequestError, match="FIXED_LEN_BYTE_ARRAY are not accepted"):
        codecs.decode(parquet(table), PARQUET, SCHEMA)


def test_an_arrow_file():
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, GOOD[0].schema) as writer:
        writer.write_table(GOOD[0])
    with pytest.raises(BadRequestError, match="send Arrow's stream format"):
        codecs.decode(sink.getvalue().to_pybytes(), ARROW, SCHEMA)


def test_many_batches_are_refused_quickly(monkeypatch):
    monkeypatch.setattr(arrow, "_MOST_MESSAGES", 100)
    table = pa.table({"a": np.zeros(200), "b": np.zeros(200)})
    batches = pa.Table.from_batches(table.to_batches(max_chunksize=1))
    with pytest.raises(BadRequestError, match="more than 100 batches"):
        codecs.decode(arrow_stream(batches), ARROW, SCHEMA)


def test_many_row_groups_and_pages_are_refused(monkeypatch):
    table = pa.table({"a": np.zeros(200), "b": np.zeros(200)})
    body = parquet(table, row_group_size=1)
    monkeypatch.setattr(thrift, "_MOST_STEPS", 1000)
    with pytest.raises(BadRequestError, match="too many columns, row groups or pages"):
        codecs.decode(body, PARQUET, SCHEMA)
