"""application/x-npy and application/x-npz: every number survives, and no body does harm."""

from __future__ import annotations

import io
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mme_handler import codecs
from mme_handler.codecs import Output, Schema, application_npy
from mme_handler.errors import BadRequestError, MmeError, RequestTooLargeError

NPY = "application/x-npy"
NPZ = "application/x-npz"
NAMED = Schema(2, names=("a", "b"))
quick = settings(max_examples=100, deadline=2000)


def npy(array, **options) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def npz(*arrays, save=np.savez, **named) -> bytes:
    stream = io.BytesIO()
    save(stream, *arrays, **named)
    return stream.getvalue()


def with_header(header: str, content: bytes = b"", version: int = 1) -> bytes:
    text = header.encode()
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H", len(text)) + text + content


def error(body, content_type=NPY, schema=None) -> str:
    with pytest.raises(BadRequestError) as caught:
        codecs.decode(body, content_type, schema or Schema(2))
    str(caught.value).encode()  # it is sent
    assert len(str(caught.value)) < 700
    return str(caught.value)


shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=8)
bits = hnp.arrays(np.uint32, shapes)


@quick
@given(bits, st.sampled_from("CF"), st.sampled_from(["npy", "npz", "compressed"]))
def test_float32_survives_bit_for_bit(values, order, kind):
    matrix = values.view(np.float32)
    matrix[np.isinf(matrix)] = 0
    written = np.asarray(matrix, order=order)
    if kind == "npy":
        body = npy(written)
    else:
        body = npz(written, save=np.savez if kind == "npz" else np.savez_compressed)
    read = codecs.decode(body, NPY if kind == "npy" else NPZ, Schema(matrix.shape[1]))
    assert read.dtype == np.float32
    assert read.flags.c_contiguous
    assert read.flags.writeable
    np.testing.assert_array_equal(read.view(np.uint32), matrix.view(np.uint32))


@quick
@given(hnp.arrays(np.float32, shapes, elements=st.floats(width=32, allow_infinity=False)))
def test_what_is_written_is_read(scores):
    body, content_type = codecs.encode(scores, NPY)
    np.testing.assert_array_equal(
        codecs.decode(body, content_type, Schema(scores.shape[1])), scores
    )


@pytest.mark.parametrize("byte_order", "<>")
@pytest.mark.parametrize("kind", ["?", "i1", "u1", "i2", "i4", "u8", "i8", "f2", "f4", "f8"])
def test_every_type_of_number(kind, byte_order):
    array = np.array([[0, 1], [1, 0]]).astype(byte_order + kind)
    assert codecs.decode(npy(array), NPY, Schema(2)).tolist() == [[0, 1], [1, 0]]


def test_a_long_integer_rounds_as_in_a_text():
    number = 2**54 + 2**30 + 1
    read = codecs.decode(npy(np.array([number])), NPY, Schema(1))
    assert read == codecs.decode(str(number).encode(), "text/csv", Schema(1))


def test_one_dimension_is_one_row():
    assert codecs.decode(npy(np.float32([1, 2])), NPY, Schema(2)).tolist() == [[1, 2]]


def test_missing():
    array = np.array([[1, np.nan], [-9, 4]])
    read = codecs.decode(npy(array), NPY, Schema(2, missing=-9))
    np.testing.assert_array_equal(read, np.float32([[1, np.nan], [np.nan, 4]]))


def test_fields_are_matched_by_name():
    array = np.array([(1, 2.5), (3, 4.5)], dtype=[("b", "<i4"), ("a", ">f8")])
    assert codecs.decode(npy(array), NPY, NAMED).tolist() == [[2.5, 1], [4.5, 3]]
    assert codecs.decode(npz(array), NPZ, NAMED).tolist() == [[2.5, 1], [4.5, 3]]
    message = error(npy(array), schema=Schema(2, names=("a", "c")))
    assert "unknown: 'b'; missing: 'c'" in message


@pytest.mark.filterwarnings("ignore:Stored array in format")
def test_names_of_any_script():
    array = np.array([(1, 2)], dtype=[("größe", "f4"), ("幅", "f4")])
    schema = Schema(2, names=("幅", "größe"))
    assert codecs.decode(npy(array), NPY, schema).tolist() == [[2, 1]]


def test_many_fields():
    names = tuple(f"feature_{i}" for i in range(1000))
    array = np.zeros(2, dtype=[(name, "f4") for name in names])
    assert codecs.decode(npy(array), NPY, Schema(1000, names)).shape == (2, 1000)


def test_npz_of_an_array_for_each_feature():
    body = npz(b=np.int8([1, 3]), a=np.float64([2, 4]))
    assert codecs.decode(body, NPZ, NAMED).tolist() == [[2, 1], [4, 3]]
    assert "unknown: 'c'; missing: 'b'" in error(npz(a=[1], c=[2]), NPZ, NAMED)
    assert "'b'" not in error(npz(a=[1]), NPZ, Schema(2, names=("a", "c")))
    assert "is not accepted" not in error(npz(a=[1, 2], b=[2]), NPZ, NAMED)


BAD = [
    (b"1,2", "the body is not an NPY array"),
    (npy(np.zeros((2, 2)))[:30], "header too long or cut off"),
    (npy(np.zeros((2, 2)))[:-1], "31 bytes follow it"),
    (npy(np.zeros((2, 2))) + b"x", "33 bytes follow it"),
    (npy(np.zeros((0, 2))), "the body has no rows; send at least one"),
    (npy(np.zeros(0)), "the body has no rows; send at least one"),
    (npy(np.zeros((2, 0))), "each row: got 0 values, the model takes 2"),
    (npy(np.zeros((4, 1))), "each row: got 1 value, the model takes 2"),
    (npy(np.zeros(3)), "row 1: got 3 values, the model takes 2"),
    (npy(np.zeros((1, 1, 2))), "1 or 2 dimensions, got the shape (1, 1, 2)"),
    (npy(np.float32(1)), "1 or 2 dimensions, got the shape ()"),
    (npy(np.zeros((2, 2), [("a", "f4")])), "1 dimension, got"),
    (npy(np.zeros((2, 2), complex)), "the type complex128 are not accepted"),
    (npy(np.array(["a", "b"])), "the type <U1 are not accepted"),
    (npy(np.zeros(2, "M8[s]")), "are not accepted"),
    (npy(np.zeros(2, np.longdouble)), "are not accepted"),
    (npy(np.zeros(2, [("a", "f4", 2), ("b", "f4")])), 'the field "a": values of'),
    (npy(np.array([[1, 2], [3, 1e300]])), "row 2, column 2: 1e+300 is infinite or too large"),
    (npy(np.array([[1, 2], [np.inf, 1]])), "row 2, column 1: inf is infinite or too large"),
    (npy(np.float32([[1, -np.inf]])), "row 1, column 2: -inf is infinite or too large"),
    (npy(np.float16([[1, np.inf]])), "row 1, column 2: inf is infinite"),
    (npy(np.zeros((2, 2)), allow_pickle=False)[:6] + b"\x09\0abc", "its version is unknown"),
    (with_header("{'descr':'<f4','fortran_order':False,'shape':(-2,-2)}", bytes(16)), "(-2, -2)"),
    (
        with_header("{'descr':'<f4','fortran_order':False,'shape':(1<<60,2)}"),
        "the body is not an NPY array",
    ),
    (
        with_header("{'descr':'<f4','fortran_order':False,'shape':(10000000000000000,2)}"),
        "but 0 bytes follow it",
    ),
    (with_header("-" * 9000 + "1"), "the body is not an NPY array"),
    (with_header("{[]: 1}"), "the body is not an NPY array"),
    (with_header("__import__('os').abort()"), "the body is not an NPY array"),
    (
        with_header("{'descr':'<f4','fortran_order':False,'shape':(True,2)}", bytes(8)),
        "the header's shape must be of whole numbers",
    ),
    (
        with_header("{'descr':'<f4','fortran_order':False,'shape':(0x" + "f" * 9000 + ",2)}"),
        "the header's shape must be of whole numbers",
    ),
    (
        with_header("{'descr':[('\\ud800','O')],'fortran_order':False,'shape':(1,)}"),
        r'the field "\\ud800": values of the type object are not accepted',
    ),
    (
        with_header("{'descr':[('\\ud800','<f4')],'fortran_order':False,'shape':(1,)}", bytes(4)),
        r"unknown: '\ud800'; missing: 'f0', 'f1'",
    ),
    (with_header("{'\\ud800':1,'shape':(1,)}"), "the body is not an NPY array"),
    (with_header("{'descr':'\\ud800','fortran_order':False,'shape':(1,)}"), "not an NPY array"),
    (with_header("{'descr':[],'fortran_order':False,'shape':(1,)}"), "are not accepted"),
]


@pytest.mark.parametrize(("body", "message"), BAD)
def test_bad(body, message):
    assert message in error(body)


def test_a_named_column_in_an_error():
    assert "row 1, 'b': inf" in error(npy(np.array([[1, np.inf]])), schema=NAMED)


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("it was unpickled",)


def test_objects_are_refused_without_unpickling():
    header = npy(np.zeros(2)).replace(b"<f8", b"|O ")
    content = pickle.dumps(Bomb())
    for body in (header[:128] + content, npy(np.array([[Bomb(), 1]], object), allow_pickle=True)):
        assert "are not accepted" in error(body) or "not an NPY" in error(body)
    members = npz(np.array([[Bomb(), 1]], object), allow_pickle=True)
    assert "object are not accepted" in error(members, NPZ)


def test_a_header_that_lies_allocates_nothing():
    header = "{'descr':'|u1','fortran_order':False,'shape':(2000000000,2)}"
    tracemalloc.start()
    error(with_header(header, bytes(100)))
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def zipped(members: dict[str, bytes], method=zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


GOOD_NPY = npy(np.zeros((2, 2)))
BAD_NPZ = [
    (b"PK", "does not end as a ZIP file does"),
    (GOOD_NPY, "does not end as a ZIP file does"),
    (zipped({}), "the NPZ file is empty"),
    (zipped({"a.txt": b"x"}), '"a.txt" in the NPZ file is not an NPY array'),
    (zipped({"a.npy": GOOD_NPY}, zipfile.ZIP_LZMA), "compressed by another method"),
    (zipped({"a.npy": b"x"}), "the body is not an NPY array"),
    (zipped({f"{i}.npy": GOOD_NPY for i in range(200)}), "too many members"),
    (zipped({"f0.npy": GOOD_NPY, "f1.npy": GOOD_NPY}), '"f0" has the shape (2, 2)'),
    (npz(f0=[1, 2], f1=[1, 2, 3]), '"f1" has the shape (3,)'),
    (npz(f0=[1, 2], f1=[1, np.inf]), "row 2, column 2: inf"),
    (npz(np.zeros((2, 3))), "each row: got 3 values"),
    (zipped({"a.npy": GOOD_NPY})[10:], "the body is not an NPZ file"),
]


@pytest.mark.parametrize(("body", "message"), BAD_NPZ)
def test_bad_npz(body, message):
    assert message in error(body, NPZ)


def test_encrypted():
    body = bytearray(npz(np.zeros((2, 2))))
    body[body.rfind(b"PK\x01\x02") + 8] |= 1
    assert "is encrypted" in error(bytes(body), NPZ)


def test_bombs_take_little_memory(monkeypatch):
    monkeypatch.setattr(application_npy, "MAX_UNPACKED", 8 << 20)
    honest = npz(np.zeros((1_000_000, 2)), save=np.savez_compressed)
    end = honest.rfind(b"PK\x01\x02")
    liar = bytearray(honest)
    liar[end + 24 : end + 28] = struct.pack("<I", 1 << 20)  # the size it says it unpacks to
    tracemalloc.start()
    with pytest.raises(RequestTooLargeError, match=r"unpacks to 16,000,128 bytes; send at most"):
        codecs.decode(honest, NPZ, Schema(2))
    assert "bytes follow it" in error(bytes(liar), NPZ)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


good = [GOOD_NPY, npy(np.zeros(2, "f4,f4")), npz(np.zeros((2, 2))), npz(f0=[1], f1=[2.5])]


@st.composite
def damaged(draw):
    body = bytearray(draw(st.sampled_from(good)))
    for _ in range(draw(st.integers(1, 3))):
        body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
    return bytes(body[: draw(st.integers(1, len(body)))] if draw(st.booleans()) else body)


@settings(max_examples=400, deadline=2000)
@given(st.binary(max_size=100) | damaged(), st.sampled_from([NPY, NPZ]))
def test_any_body_is_a_matrix_or_refused(body, content_type):
    status = 0
    try:
        matrix = codecs.decode(body, content_type, Schema(2))
    except MmeError as refused:
        status = refused.status
    if status:
        assert 400 <= status < 500
        return
    assert matrix.shape[1] == 2
    assert matrix.dtype == np.float32
    assert len(matrix) > 0


def test_encode():
    for scores in (np.float32([0.5, np.nan]), np.ones((2, 3), np.float32)):
        read = np.load(io.BytesIO(codecs.encode(scores, NPY).body), allow_pickle=False)
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, scores)


def test_encode_several_outputs():
    outputs = [
        Output("label", np.array([1, 0])),
        Output("contributions", np.arange(6, dtype=np.float32).reshape(2, 3), ("a", "b", "bias")),
    ]
    read = np.load(io.BytesIO(codecs.encode(outputs, NPY).body), allow_pickle=False)
    assert read.dtype == [("label", "<i8"), ("contributions", "<f4", (3,))]
    for output in outputs:
        np.testing.assert_array_equal(read[output.name], output.values)
