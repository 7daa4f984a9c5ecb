"""application/json: the shapes of a request, how mistakes are named, the shape of an answer."""

from __future__ import annotations

import json

import numpy as np
import orjson
import pytest

from mme_handler.codecs import Output, Schema, application_json, chunks
from mme_handler.errors import BadRequestError

NAN = np.nan
X = [[1.0, 2.0], [3.0, 4.0]]

GOOD = [
    ('{"instances": [[1, 2], [3, 4]]}', 2, X),
    ('{"instances": [{"features": [1, 2]}, {"features": [3.0, 4e0]}]}', 2, X),
    ('{"instances": [{"features": [1, 2]}, [3, 4]]}', 2, X),
    ('{"instances": [[1, 2]], "other": true}', 2, [[1, 2]]),
    ('{"features": [1, 2]}', 2, [[1, 2]]),
    ('{"features": [[1, 2], [3, 4]]}', 2, X),
    ("[[1, 2], [3, 4]]", 2, X),
    ('[{"features": [1, 2]}, {"features": [3, 4]}]', 2, X),
    ("[1, 2]", 2, [[1, 2]]),
    ("[1]", 1, [[1]]),
    (" \n[[1], [2]]\n", 1, [[1], [2]]),
    ("\ufeff[[1, 2], [3, 4]]", 2, X),
    ('[null, "NaN", "nan", "NA", "null", 1]', 6, [[NAN] * 5 + [1]]),
    ("[[null, 1], [2, null]]", 2, [[NAN, 1], [2, NAN]]),
    ("[18446744073709551615, 123456789012345678901234567890]", 2, [[2.0**64, 1.2345679e29]]),
    ("[3.4028235e38, 9007199254740993]", 2, [[3.4028235e38, 2.0**53]]),
]

BAD = [
    ("{", 2, "not valid JSON"),
    ("[1,\n2,x]", 2, "at line 2, column 3"),
    ("[NaN, 1]", 2, "write a missing value as null"),
    ("[1, 1e400]", 2, "not valid JSON"),
    ("{}", 2, 'the object has no "instances" or "features"'),
    ("3", 2, "expected a list of rows, got 3"),
    ('"abc"', 2, 'expected a list of rows, got "abc"'),
    ("null", 2, "expected a list of rows, got null"),
    ('{"instances": 3}', 2, "expected a list of rows, got 3"),
    ('{"features": {}}', 2, "expected a list of rows, got an object"),
    ("[]", 2, "the body has no rows"),
    ('{"instances": []}', 2, "the body has no rows"),
    ("[[]]", 2, "row 1: got 0 values, the model takes 2"),
    ("[1, 2, 3]", 1, "row 1: got 3 values, the model takes 1"),
    ("[[1, 2], [3, 4], [5]]", 2, "row 3: got 1 value, the model takes 2"),
    ("[[1], [2, 3]]", 2, "row 1: got 1 value, the model takes 2"),
    ('[{"features": [1, 2]}, {"features": [1]}]', 2, "row 2: got 1 value, the model takes 2"),
    (
        '[{"features": [1, 2]}, {"values": [1]}]',
        2,
        'row 2: the object has no "features", and the model has',
    ),
    ('[{"features": 3}]', 2, "row 1: expected a list of numbers, got 3"),
    ("[[1, 2], 3]", 2, "row 2: expected a list of numbers, got 3"),
    ('[[1, 2], "34"]', 2, 'row 2: expected a list of numbers, got "34"'),
    ("[[1, 2], null]", 2, "row 2: expected a list of numbers, got null"),
    ("[[1, true]]", 2, "row 1, column 2: true is not a number"),
    ("[1, false]", 2, "row 1, column 2: false is not a number"),
    ('[[1, 2], [3, "4"]]', 2, 'row 2, column 2: "4" is not a number'),
    ('[1, ""]', 2, 'row 1, column 2: "" is not a number'),
    ('[1, "Infinity"]', 2, '"Infinity" is not a number'),
    ("[[[1], [2]]]", 2, "row 1, column 1: a list is not a number"),
    ("[1, [2]]", 2, "row 1, column 2: a list is not a number"),
    ("[[1, {}]]", 2, "row 1, column 2: an object is not a number"),
    ('{"instances": [{"features": [[1, 2]]}]}', 1, "row 1, column 1: a list is not a number"),
    ("[[1, 2], [3, 1e300]]", 2, "row 2, column 2: 1e+300 is infinite or too large"),
    (f'[1, "{"x" * 50}"]', 2, f'"{"x" * 40}..." is not a number'),
]


def encode(predictions: np.ndarray) -> bytes:
    return application_json.encode([Output("score", predictions)])


def decode(text: str, features: int) -> np.ndarray:
    return application_json.decode(text.encode(), Schema(features))


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 8)
    monkeypatch.setattr(chunks, "CHUNK_VALUES", 4)
    monkeypatch.setattr(application_json, "CHUNK_BYTES", 8)


@pytest.mark.parametrize(("text", "features", "expected"), GOOD)
def test_good(text, features, expected):
    matrix = decode(text, features)
    assert matrix.dtype == np.float32
    assert matrix.flags.c_contiguous
    np.testing.assert_array_equal(matrix, np.array(expected, np.float32))


@pytest.mark.parametrize(("text", "features", "message"), BAD)
def test_bad(text, features, message):
    with pytest.raises(BadRequestError) as caught:
        decode(text, features)
    assert message in str(caught.value)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(("text", "features", "expected"), GOOD)
def test_good_in_pieces(text, features, expected):
    test_good(text, features, expected)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(("text", "features", "message"), BAD)
def test_bad_in_pieces(text, features, message):
    test_bad(text, features, message)


def in_pieces(text: str) -> np.ndarray | None:
    return application_json._decode_in_pieces(memoryview(text.encode()), Schema(2))


@pytest.mark.usefixtures("small_pieces")
def test_what_is_read_in_pieces():
    rows = "[1, 2],\n [3, 4] "
    for text in (f"[{rows}]", f' {{ "instances" : [ {rows} ] }} ', f'{{"features":[{rows}]}}'):
        assert in_pieces(text).tolist() == X
    objects = '{"features": [1, 2]} , {"features": [3, 4]}'
    for text in (f"[{objects}]", f'{{"instances": [{objects}]}}'):
        assert in_pieces(text).tolist() == X
    assert in_pieces(f'{{"instances": [{rows}, {objects}]}}') is None


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(
    "text",
    [
        "[[1, 2], [3, 4]",
        "[[1, 2], [3, 4]]]",
        "[[1, 2], [3, 4]]}",
        '{"instances": [[1, 2], [3, 4]]',
        "[[1, 2]  [3, 4]]",
        "[[1, 2],, [3, 4]]",
        "[[1, 2], [3, 4],]",
        "[[1, 2], [3, 4]}]",
        '{"instances": [[1, 2]], [3, 4]]}',
    ],
)
def test_pieces_accept_no_bad_syntax(text):
    with pytest.raises(BadRequestError, match="not valid JSON"):
        decode(text, 2)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer(kind):
    assert application_json.decode(kind(b"[[1,2],[3,4]]"), Schema(2)).tolist() == X


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("wrap", [list, lambda row: {"features": row}])
def test_large_bodies_are_read_in_pieces(monkeypatch, indent, wrap):
    rows = [[i, i / 8, None if i % 3 else -i] for i in range(20_000)]
    body = json.dumps({"instances": [wrap(row) for row in rows]}, indent=indent).encode()
    longest = 0
    loads = orjson.loads

    def watched(text):
        nonlocal longest
        longest = max(longest, len(text))
        return loads(text)

    monkeypatch.setattr(orjson, "loads", watched)
    matrix = application_json.decode(body, Schema(3))
    np.testing.assert_array_equal(matrix, np.array(rows, np.float32))
    assert longest < 2 * chunks.CHUNK_BYTES


def test_large_body_names_the_row():
    rows = [[1.5, 2.5]] * 50_000
    rows[40_000] = [1.5]
    with pytest.raises(BadRequestError, match=r"^row 40001: got 1 value"):
        decode(json.dumps(rows), 2)


@pytest.mark.parametrize("size", [3, 20_000])
def test_encode(size):
    scores = np.arange(size, dtype=np.float32) / np.float32(10)
    answer = json.loads(encode(scores))
    assert [np.float32(p["score"]) for p in answer["predictions"]] == scores.tolist()
    table = np.stack([scores, -scores], axis=1)
    answer = json.loads(encode(table))
    assert [p["score"] for p in answer["predictions"]] == json.loads(
        orjson.dumps(table, option=orjson.OPT_SERIALIZE_NUMPY)
    )


def test_encode_text():
    assert encode(np.float32([0.1])) == b'{"predictions":[{"score":0.1}]}'
    assert encode(np.float32([[0.1, 2]])) == (b'{"predictions":[{"score":[0.1,2.0]}]}')
    assert encode(np.float32([])) == b'{"predictions":[]}'
    assert encode(np.zeros((0, 3), np.float32)) == b'{"predictions":[]}'


def test_encode_not_finite():
    assert encode(np.float32([np.nan, np.inf, -np.inf])) == (
        b'{"predictions":[{"score":null},{"score":null},{"score":null}]}'
    )
