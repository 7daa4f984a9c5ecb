"""application/x-recordio-protobuf, against an encoder of its own that packs every byte."""

from __future__ import annotations

import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mme_handler.codecs import Output, Schema, recordio_protobuf
from mme_handler.errors import BadRequestError, RequestTooLargeError
from support.codecs import check_matrix_or_bad_request, check_refused_quickly

NAN = np.nan
FIELDS = {"<f4": 2, "<f8": 3, "<i4": 7}

# The bytes of one row of 1.5 and -2 as float32, then those of column 1 of three as float64.
DENSE = bytes.fromhex(
    "0a23d7ce 18000000"  # the magic number, 24 bytes of data
    "0a16 0a06 76616c756573 120c 120a 0a08 0000c03f 000000c0"
).ljust(32, b"\0")
SPARSE = bytes.fromhex(
    "0a23d7ce 1e000000"  # 30 bytes of data, two of padding
    "0a1c 0a06 76616c756573 1212 1a10 0a08 000000000000f03f 120101 1a0103 0000"
)


def varint(number: int) -> bytes:
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def block(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def tensor(values, dtype="<f4", keys=(), shape=()) -> bytes:
    if dtype == "<i4":
        numbers = b"".join(varint(value % 2**64) for value in values)
    else:
        numbers = np.asarray(values).astype(dtype).tobytes()
    parts = [(1, numbers)]
    parts += [(2, b"".join(map(varint, keys))), (3, b"".join(map(varint, shape)))]
    return block(FIELDS[dtype], b"".join(block(n, part) for n, part in parts if part))


def entry(value: bytes, key: str = "values", number: int = 1) -> bytes:
    return block(number, block(1, key.encode()) + block(2, value))


def frame(data: bytes) -> bytes:
    return struct.pack("<II", 0xCED7230A, len(data)) + data + b"\0" * (-len(data) % 4)


def row(*args, **kwargs) -> bytes:
    return frame(entry(tensor(*args, **kwargs)))


def decode(body: bytes, features: int = 2) -> np.ndarray:
    return recordio_protobuf.decode(body, Schema(features))


def test_known_bytes():
    assert row([1.5, -2]) == DENSE
    assert row([1], "<f8", [1], [3]) == SPARSE
    assert decode(DENSE).tolist() == [[1.5, -2]]
    np.testing.assert_array_equal(decode(SPARSE, 3), np.float32([[NAN, 1, NAN]]))


LABEL = entry(tensor([1]), number=2)
OTHERS = block(3, b"id") + block(4, b"{}") + block(5, b"{}")
FIELD_99 = block(99, b"from the future")
UNPACKED = block(1, block(1, b"values") + block(2, block(2, b"\x0d\0\0\xc0\x3f\x0d\0\0\0\xc0")))

GOOD = {
    "float32": (row([1.5, -2]) * 2, [[1.5, -2]] * 2),
    "float64": (row([0.1, 1e-50], "<f8") * 2, [[0.1, 0]] * 2),
    "int32": (row([7, -(2**31)], "<i4") * 2, [[7, -(2.0**31)]] * 2),
    "of many types": (
        row([1, 2]) + row([3, 4], "<i4") + row([5, 6], "<f8"),
        [[1, 2], [3, 4], [5, 6]],
    ),
    "a float32 that differs later": (
        row([1, 2]) + row([3], keys=[0], shape=[2]),
        [[1, 2], [3, NAN]],
    ),
    "missing": (row([1, NAN]), [[1, NAN]]),
    "sparse": (row([5], keys=[1]), [[NAN, 5]]),
    "sparse out of order": (row([5, 4], keys=[1, 0], shape=[2]), [[4, 5]]),
    "sparse int32": (row([5], "<i4", keys=[1], shape=[1, 2]), [[NAN, 5]]),
    "nothing but a shape": (row([], shape=[2]), [[NAN, NAN]]),
    "dense with a shape": (row([1, 2], shape=[2]) + row([1, 2], shape=[1, 2]), [[1, 2]] * 2),
    "label": (frame(entry(tensor([1, 2])) + LABEL) * 2, [[1, 2]] * 2),
    "label first": (frame(LABEL + entry(tensor([1, 2]))), [[1, 2]]),
    "other fields": (frame(entry(tensor([1, 2])) + OTHERS + FIELD_99), [[1, 2]]),
    "not packed": (frame(UNPACKED), [[1.5, -2]]),
    "no padding at the end": (frame(entry(tensor([1, 2])) + block(3, b"x"))[:-1], [[1, 2]]),
}

HEAD = struct.pack("<I", 0xCED7230A)
BAD = {
    "json": (b"[1, 2, 3, 4]", "record 1 begins with 0x202c315b, not with the magic number of"),
    "no frame": (entry(tensor([1, 2])), "not with the magic number of RecordIO, 0xced7230a"),
    "short": (b"\x0a\x23", "record 1 is cut off: the body ends before it does"),
    "no data": (row([1, 2]) + HEAD + b"\x09\0\0\0", "record 2 is cut off"),
    "cut": (row([1, 2], "<f8") + row([1, 2], "<f8")[:-4], "record 2 is cut off"),
    "part": (HEAD + struct.pack("<I", 1 << 29 | 4) + b"abcd", "record 1 is split in parts"),
    "zeros after": (row([1, 2]) + bytes(8), "record 2 begins with 0x00000000"),
    "junk": (row([1, 2]) + frame(b"\xff" * 8), "record 2 is not a protobuf message of the type"),
    "key not UTF-8": (frame(block(1, block(1, b"\xff"))), "record 1"),
    "empty": (frame(b""), 'record 1: the features must be in "values" alone; found: none'),
    "only a label": (frame(LABEL), "found: none"),
    "other key": (frame(entry(tensor([1, 2]), "data")), 'alone; found: ["data"]'),
    "two keys": (frame(entry(tensor([1, 2])) + entry(tensor([1]), "more")), '"more"'),
    "many keys": (frame(b"".join(entry(b"", f"{i}") for i in range(99))), ", ...]"),
    "no tensor": (frame(entry(b"")), '"values" holds nothing; send a tensor'),
    "bytes": (frame(entry(block(9, block(1, b"x")))), '"values" holds bytes; send a tensor'),
    "too few": (row([1, 2]) + row([1]), "record 2: got 1 value, the model takes 2"),
    "too many": (row([1, 2, 3]), "record 1: got 3 values, the model takes 2"),
    "no values": (row([]), "record 1: got 0 values, the model takes 2"),
    "keys for others": (row([1], keys=[0, 1]), "record 1: got 2 keys for 1 values"),
    "key out of range": (row([1], keys=[2]), "key 2 is out of the model's range, 0 to 1"),
    "huge key": (row([1], keys=[2**64 - 1]), "key 18446744073709551615 is out of"),
    "key twice": (row([1, 2], keys=[1, 1]), "record 1: key 1 is there twice"),
    "shape": (row([1], keys=[0], shape=[3]), "the shape is [3], the model takes [2]"),
    "shape of two rows": (row([1, 2], shape=[2, 2]), "the shape is [2, 2], the model takes"),
    "long shape": (row([1, 2], shape=[2] * 99), "2, ...], the model takes [2]"),
    "infinite": (row([1, 2]) + row([1, np.inf]), "record 2, column 2: inf is infinite or too"),
    "overflow": (row([-1e39, 2], "<f8"), "record 1, column 1: -1e+39 is infinite or too large"),
    "sparse overflow": (row([1e39], "<f8", [1]), "record 1, column 2: 1e+39 is infinite"),
    "long": (frame(block(3, b"x" * 2_000_000)), "record 1 has 2,000,004 bytes; send at most"),
}


@pytest.mark.parametrize("name", GOOD)
def test_good(name):
    body, expected = GOOD[name]
    matrix = decode(body)
    assert matrix.dtype == np.float32
    assert matrix.flags.c_contiguous
    np.testing.assert_array_equal(matrix, np.array(expected, np.float32))


@pytest.mark.parametrize("name", BAD)
def test_bad(name):
    body, message = BAD[name]
    with pytest.raises(BadRequestError) as caught:
        decode(body)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer(kind):
    assert decode(kind(DENSE)).tolist() == [[1.5, -2]]
    assert decode(kind(SPARSE), 3)[0, 1] == 1


def test_one_feature():
    assert decode(row([1]) + row([2], shape=[1]) + row([3], keys=[0]), 1).tolist() == [
        [1],
        [2],
        [3],
    ]


matrices = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=8),
    elements=st.floats(width=32, allow_infinity=False),
)


def same(a: np.ndarray, b: np.ndarray) -> None:
    np.testing.assert_array_equal(a, b)
    there = ~np.isnan(b)
    np.testing.assert_array_equal(a.view(np.uint32)[there], b.view(np.uint32)[there])


@settings(max_examples=150, deadline=2000)
@given(matrices, st.sampled_from(["<f4", "<f8"]), st.booleans())
def test_dense_numbers_survive(matrix, dtype, labelled):
    end = LABEL if labelled else b""
    body = b"".join(frame(entry(tensor(values, dtype)) + end) for values in matrix)
    same(decode(body, matrix.shape[1]), matrix)


@settings(max_examples=100, deadline=2000)
@given(matrices, st.sampled_from(["<f4", "<f8"]))
def test_sparse_numbers_survive(matrix, dtype):
    keys = [np.flatnonzero(~np.isnan(values)).tolist() for values in matrix]
    rows = zip(matrix, keys, strict=True)
    body = b"".join(row(values[k], dtype, k, [len(values)]) for values, k in rows)
    same(decode(body, matrix.shape[1]), matrix)


def test_fast_path_is_taken_for_plain_records(monkeypatch):
    matrix = np.random.default_rng(0).normal(size=(1000, 50)).astype(np.float32)
    monkeypatch.setattr(recordio_protobuf, "_decode_each", None)
    for dtype in ("<f4", "<f8"):
        same(decode(b"".join(row(values, dtype) for values in matrix), 50), matrix)


def test_wide_rows():
    matrix = np.random.default_rng(0).normal(size=(2, 50_000)).astype(np.float32)
    columns = range(matrix.shape[1])
    same(decode(b"".join(row(values) for values in matrix), matrix.shape[1]), matrix)
    body = b"".join(row(values, "<f8", columns) for values in matrix)
    same(decode(body, matrix.shape[1]), matrix)


def test_categories():
    schema = Schema(2, None, {0: {"10": 0, "20": 1}})
    for body in (row([20, 10]), row([20, 10], keys=[0, 1])):
        assert recordio_protobuf.decode(body, schema).tolist() == [[1, 10]]
    with pytest.raises(BadRequestError, match="30 is not a category"):
        recordio_protobuf.decode(row([30, 1]), schema)


def test_sparse_rows_of_many_features_take_bounded_memory():
    with pytest.raises(RequestTooLargeError, match="1,000 rows of 100,000 features"):
        decode(row([1], keys=[1]) * 1000, 100_000)


def encode(*outputs: Output) -> bytes:
    return recordio_protobuf.encode(outputs)


def test_encode():
    label = entry(tensor([0.5]), "score", number=2)
    assert encode(Output("score", np.float32([0.5, 0.5]))) == frame(label) * 2
    label = entry(tensor([1, 2]), "score", number=2)
    assert encode(Output("score", np.float32([[1, 2]]))) == frame(label)
    assert encode(Output("score", np.float32([]))) == b""


def test_encode_several_outputs_flat():
    contributions = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)
    body = encode(
        Output("predicted_label", np.array([3])),
        Output("interactions", contributions, ("AREA", "bias"), axes=2),
    )
    entries = [
        entry(tensor([3]), "predicted_label", number=2),
        entry(tensor(range(8)), "interactions", number=2),
    ]
    # The order of a map's entries is open.
    assert body in (frame(entries[0] + entries[1]), frame(entries[1] + entries[0]))


@settings(max_examples=50, deadline=2000)
@given(hnp.arrays(np.float32, st.integers(1, 50), elements=st.floats(width=32)))
def test_predictions_survive(scores):
    expected = b"".join(frame(entry(tensor([score]), "score", number=2)) for score in scores)
    assert encode(Output("score", scores)) == expected


def test_protobuf_is_imported_only_when_needed():
    code = "import sys, mme_handler.codecs; sys.exit('google.protobuf' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


pieces = st.sampled_from([DENSE, SPARSE, *(body for body, _ in [*GOOD.values(), *BAD.values()])])


@settings(max_examples=500, deadline=2000)
@given(
    st.binary(max_size=60)
    | st.binary(max_size=40).map(frame)
    | st.binary(max_size=30).map(lambda value: frame(entry(value)))
    | st.lists(pieces.filter(lambda body: len(body) < 10_000), max_size=3).map(b"".join),
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=2),
)
def test_any_body_is_a_matrix_or_a_bad_request(body, features, changes):
    changed = bytearray(body)
    for place, byte in changes:
        changed[place : place + 1] = bytes([byte])
    if not changed:
        return
    check_matrix_or_bad_request(recordio_protobuf.decode, bytes(changed), features)


HOSTILE = {
    "empty records": frame(b"") * 500_000,
    "zero bytes": bytes(5_000_000),
    "one record": frame(b"\x0a\x00" * 5_000_000),
    "many keys": frame(entry(tensor([], keys=range(300_000)))),
    "nested groups": frame(b"\x0b" * 1_000_000),
    "longest": struct.pack("<II", 0xCED7230A, 2**29 - 1) + bytes(100),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bodies_end_quickly(name):
    check_refused_quickly(recordio_protobuf.decode, HOSTILE[name])
