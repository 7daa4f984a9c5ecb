"""application/jsonlines: a row on each line, in and out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mme_handler.codecs import Output, Schema, application_jsonlines, chunks
from mme_handler.errors import BadRequestError, RequestTooLargeError
from support.codecs import check_matrix_or_bad_request, check_refused_quickly

NAN = np.nan
X = [[1.0, 2.0], [3.0, 4.0]]
SCHEMA = Schema(2, names=("AREA", "LOT"))

GOOD = [
    ("[1, 2]", [[1, 2]]),
    ("[1, 2]\n[3, 4]", X),
    ("[1, 2]\n[3, 4]\n", X),
    ("[1, 2]\r\n[3, 4]\r\n\r\n \n", X),
    (" [1, 2] \n\t[3, 4]", X),
    ("\ufeff[1, 2]\n[3, 4]", X),
    ('{"features": [1, 2]}\n{"features": [3, 4]}', X),
    ('{"AREA": 1, "LOT": 2}\n{"LOT": 4, "AREA": 3}', X),
    ('[1, 2]\n{"LOT": 4, "AREA": 3}', X),
    ('[null, 2]\n["NaN", 4]', [[NAN, 2], [NAN, 4]]),
]

BAD = [
    ("\n \r\n", "the body is empty"),
    ("[1, 2]\n\n[3, 4]", "line 2 is blank"),
    ("\n[1, 2]", "line 1 is blank"),
    ("[1, 2]\n[3, 4", "line 2: not valid JSON: "),
    ("[1, 2]\n[3, NaN]", "at column 5; write a missing value as null"),
    ("[1,\n2]", "line 1: not valid JSON: "),
    ("[1\n2],[3]", "line 1: not valid JSON: "),
    ("[1, 2],[3, 4]", "line 1: not valid JSON: "),
    ("[1, 2]\n[3]", "line 2: got 1 value, the model takes 2"),
    ("[1, 2]\n5", "line 2: "),
    ('[1, 2]\n[3, "x"]', "line 2, 'LOT': \"x\" is not a number"),
    ("[1, 2]\n[3, 1e39]", "line 2, 'LOT': 1e+39 is infinite or too large"),
    ('[1, 2]\n{"AREA": 1}', "line 2: the feature names are not the model's: missing: 'LOT'"),
]


def decode(text: str, schema: Schema = SCHEMA) -> np.ndarray:
    return application_jsonlines.decode(text.encode(), schema)


def encode(predictions: np.ndarray) -> bytes:
    return application_jsonlines.encode([Output("score", predictions)])


@pytest.mark.parametrize(("text", "expected"), GOOD)
def test_good(text, expected):
    matrix = decode(text)
    assert matrix.dtype == np.float32
    assert matrix.flags.c_contiguous
    np.testing.assert_array_equal(matrix, np.array(expected, np.float32))


@pytest.mark.parametrize(("text", "message"), BAD)
def test_bad(text, message):
    with pytest.raises(BadRequestError) as caught:
        decode(text)
    assert message in str(caught.value)
    assert "row " not in str(caught.value)


def test_invalid_utf8_names_the_line():
    with pytest.raises(BadRequestError, match="line 2: not valid JSON"):
        application_jsonlines.decode(b'[1, 2]\n[1, "\xff"]', SCHEMA)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_pieces_change_nothing(monkeypatch, newline):
    rows = [f"[{i}, {i / 8}]" for i in range(200)]
    body = newline.join(rows)
    whole = decode(body)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 64)
    for end in ("", newline, newline * 100):
        np.testing.assert_array_equal(decode(body + end), whole)
    assert whole.shape == (200, 2)


@pytest.mark.parametrize(
    ("line", "message"), [("[1, x]", "line 15001: not valid"), ("[1]", "line 15001: got 1 value")]
)
def test_large_body_names_the_line(line, message):
    lines = ["[1.5, 2.5]"] * 20_000
    lines[15_000] = line
    with pytest.raises(BadRequestError, match=f"^{message}"):
        decode("\n".join(lines))


def test_too_many_rows_are_refused_before_they_are_read():
    with pytest.raises(RequestTooLargeError):
        decode("[]\n" * 10_000, Schema(100_000))


@settings(max_examples=100, deadline=2000)
@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=8),
        elements=st.floats(width=32, allow_infinity=False, allow_nan=False),
    ),
    st.booleans(),
)
def test_numbers_survive(matrix, wrapped):
    rows = [{"features": row} if wrapped else row for row in matrix.tolist()]
    read = decode("".join(json.dumps(row) + "\n" for row in rows), Schema(matrix.shape[1]))
    np.testing.assert_array_equal(read.view(np.uint32), matrix.view(np.uint32))


@settings(max_examples=100, deadline=2000)
@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=1, max_dims=2, max_side=8),
        elements=st.floats(width=32, allow_infinity=False, allow_nan=False),
    )
)
def test_predictions_survive(scores):
    text = encode(scores)
    read = [json.loads(line) for line in text.decode().splitlines()]
    assert all(set(row) == {"score"} for row in read)
    np.testing.assert_array_equal(np.array([row["score"] for row in read], np.float32), scores)


def test_encode():
    assert encode(np.float32([0.5])) == b'{"score":0.5}\n'
    assert encode(np.float32([0.1, np.nan])) == b'{"score":0.1}\n{"score":null}\n'
    assert encode(np.float32([[0.5, 2], [3, 4]])) == b'{"score":[0.5,2.0]}\n{"score":[3.0,4.0]}\n'
    assert encode(np.float32([])) == b""


def test_encode_in_batches():
    scores = np.arange(20_000, dtype=np.float32)
    rows = [json.loads(line)["score"] for line in encode(scores).splitlines()]
    assert rows == scores.tolist()


def test_encode_several_outputs():
    outputs = [
        Output("predicted_label", np.array([1, 0])),
        Output("contributions", np.float32([[1, 2], [3, 4]]), ("AREA", "bias")),
    ]
    assert application_jsonlines.encode(outputs) == (
        b'{"predicted_label":1,"contributions":{"AREA":1.0,"bias":2.0}}\n'
        b'{"predicted_label":0,"contributions":{"AREA":3.0,"bias":4.0}}\n'
    )


@settings(max_examples=300, deadline=2000)
@given(
    st.binary(max_size=100) | st.text('[]{}",:0123.e- \nfeatursnul', max_size=60).map(str.encode),
    st.integers(1, 4),
)
def test_any_body_is_a_matrix_or_a_bad_request(body, features):
    check_matrix_or_bad_request(application_jsonlines.decode, body, features)


HOSTILE = {
    "newlines": b"\n" * 5_000_000,
    "newlines before a row": b"\n" * 5_000_000 + b"[1]",
    "open lists": b"[" * 1_000_000,
    "nested lists": b"[" * 1_000_000 + b"]" * 1_000_000,
    "empty objects": b"{}\n" * 1_000_000,
    "nulls": b"[" + b"null," * 1_000_000 + b"null]",
    "zero bytes": bytes(5_000_000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bodies_end_quickly(name):
    check_refused_quickly(application_jsonlines.decode, HOSTILE[name])
