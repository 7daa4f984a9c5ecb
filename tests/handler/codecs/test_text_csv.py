"""text/csv: what is a number, what is missing, what is a header, and how mistakes are named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mme_handler.codecs import Output, Schema, chunks, csv_lines, text_csv
from mme_handler.errors import BadRequestError

NAN = np.nan
X = [[1.0, 2.0], [3.0, 4.0]]

GOOD = [
    ("1,2", 2, [[1, 2]]),
    ("1,2\n", 2, [[1, 2]]),
    ("1,2\n3,4", 2, X),
    ("1,2\r\n3,4\r\n", 2, X),
    ("1,2\n3,4\n\n\n", 2, X),
    ("1,2\n3,4\r\n \r\n", 2, X),
    (" 1 ,\t2\n3, 4 ", 2, X),
    ("1;2\n3;4\n", 2, X),
    ("1\t2\n3\t4\n", 2, X),
    ('"1","2"\n3,"4"', 2, X),
    ('" 1 " ,"2"\r\n3, "4"', 2, X),
    ("+1,2.\n3e0,.4E+1", 2, X),
    ("01,002\n3,4", 2, X),
    ("\ufeff1,2\n3,4", 2, X),
    ("a,b\n1,2\n3,4", 2, X),
    ("\ufeffa,b\r\n1,2\r\n3,4", 2, X),
    ('"a","b, in cm"\n1,2\n3,4', 2, X),
    ('"a;1";b\n1;2\n3;4', 2, X),
    (",b\n1,2\n3,4", 2, X),
    ("größe,b\n1,2\n3,4", 2, X),
    ("a;b\n1;2\n+3;4", 2, X),
    ("-1.5e-3,1E5", 2, [[-1.5e-3, 1e5]]),
    ("1,", 2, [[1, NAN]]),
    (",", 2, [[NAN, NAN]]),
    (",,,\n1,,,2\r\n,3,4,\r\n", 4, [[NAN] * 4, [1, NAN, NAN, 2], [NAN, 3, 4, NAN]]),
    ("\t\n1\t\n\t2\n", 2, [[NAN, NAN], [1, NAN], [NAN, 2]]),
    ("nan,NaN,NAN,-nan,NA,na,null,NULL,1", 9, [[NAN] * 8 + [1]]),
    ("nan,NaN,NA,null,,1", 6, [[NAN] * 5 + [1]]),
    ('"","NaN",+1', 3, [[NAN, NAN, 1]]),
    ("1\n\n3\n", 1, [[1], [NAN], [3]]),
    ("1\r\n\r\n+3\r\n", 1, [[1], [NAN], [3]]),
    ("1,2\n3,4\n\t\n", 2, X),
    ("1\t\n2", 1, [[1], [2]]),
    ("x\n\n3\n", 1, [[NAN], [3]]),
    ("x\n+1\n3\n", 1, [[1], [3]]),
    ("123456789012345678901234567890,9007199254740993", 2, [[1.2345679e29, 2.0**53]]),
    ("3.4028235e38,-3.4028235e38,1e-400,1e-45", 4, [[3.4028235e38, -3.4028235e38, 0, 1e-45]]),
]

BAD = [
    ("", 2, "the body is empty"),
    ("\n\r\n \n", 2, "the body is empty"),
    ("", 1, "the body is empty"),
    ("\t", 1, "the body is empty"),
    ("a,b\n", 2, "the body has no rows"),
    ("a,b", 2, "the body has no rows"),
    ("1,2,3", 2, "line 1: got 3 values, the model takes 2"),
    ("1,2\n3\n", 2, "line 2: got 1 value, the model takes 2"),
    ("1\n2,3,4\n5,6", 2, "line 1: got 1 value, the model takes 2"),
    ("1,2\n3\n4,5,6", 2, "line 2: got 1 value, the model takes 2"),
    ("a,b\n1,2\n3,4,5", 2, "line 3: got 3 values, the model takes 2"),
    ("a,b,c\n1,2", 2, "line 1: got 3 values, the model takes 2"),
    ('"a","b","c"\n1,2', 2, "line 1: got 3 values, the model takes 2"),
    ("1;2;3", 2, "line 1: got 3 values, the model takes 2"),
    ("1 2 3", 2, "line 1: got 1 value, the model takes 2"),
    ("1;2\n3,4\n", 2, "line 2: got 1 value, the model takes 2"),
    ("1;2\n3,5;4\n", 2, 'line 2, column 1: "3,5" is not a number'),
    ("1,2\n\n3,4", 2, "line 2 is blank"),
    ("\n1,2", 2, "line 1 is blank"),
    ("1,2\n3,4\n5,abc", 2, 'line 3, column 2: "abc" is not a number'),
    ("a,1\n3,4", 2, 'line 1, column 1: "a" is not a number'),
    ('"a",1\n3,4', 2, 'line 1, column 1: "a" is not a number'),
    ("a,b\nc,d\n3,4", 2, 'line 2, column 1: "c" is not a number'),
    ("1," + "x" * 50, 2, f'column 2: "{"x" * 40}..." is not a number'),
    ("1,1_000", 2, '"1_000" is not a number'),
    ("1,\uff11", 2, '"\uff11" is not a number'),
    ("1,0x10", 2, '"0x10" is not a number'),
    ("1,1 2", 2, '"1 2" is not a number'),
    ("1,true", 2, '"true" is not a number'),
    ("1,[2]", 2, '"[2]" is not a number'),
    ("1,nul", 2, '"nul" is not a number'),
    ("1,nanan", 2, '"nanan" is not a number'),
    ("1,--2", 2, '"--2" is not a number'),
    ("1,1e", 2, '"1e" is not a number'),
    ('1,"2', 2, "line 1, column 2: the quote is not closed; a line break within quotes"),
    ('1,"1"5', 2, r'"\"1\"5" is not a number'),
    ("1\r2,3", 2, r'"1\r2" is not a number'),
    ("1,\x002", 2, r'"\u00002" is not a number'),
    ("1,2\n3,inf", 2, 'line 2, column 2: "inf" is infinite'),
    ("-Infinity,2", 2, 'line 1, column 1: "-Infinity" is infinite'),
    ("1,2\n3,1e300", 2, 'line 2, column 2: "1e300" is infinite or too large'),
    ("1,2\n+3,-1e400", 2, 'line 2, column 2: "-1e400" is infinite or too large'),
    ("3.4028236e38,2", 2, "line 1, column 1"),
]


def encode(predictions: np.ndarray) -> bytes:
    return text_csv.encode([Output("score", predictions)])


def decode(text: str, features: int) -> np.ndarray:
    return text_csv.decode(text.encode(), Schema(features))


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


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer(kind):
    assert text_csv.decode(kind(b"1,2\n3,4"), Schema(2)).tolist() == X


@pytest.mark.parametrize(("body", "line"), [(b"1,2\n\xff,3\n", 2), (b"gr\xf6,b\n1,2", 1)])
def test_invalid_utf8_names_the_line(body, line):
    with pytest.raises(BadRequestError, match=f"line {line}: the body is not valid UTF-8"):
        text_csv.decode(body, Schema(2))


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("header", ["", "a,b,c\n"])
def test_pieces_change_nothing(monkeypatch, newline, header):
    rows = [f"{i},{'' if i % 3 else i}, {'+' * (i % 7 == 0)}{i / 8}" for i in range(200)]
    body = header + newline.join(rows)
    whole = decode(body, 3)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 64)
    monkeypatch.setattr(text_csv, "CHUNK_BYTES", 64)
    for end in ("", newline, newline * 100):
        np.testing.assert_array_equal(decode(body + end, 3), whole)
    assert whole.shape == (200, 3)


@pytest.mark.parametrize("header", ["", "a,b\n"])
def test_large_body_names_the_line(header):
    lines = ["1.5,2.5"] * 50_000
    lines[40_000] = "1.5,x"
    line = 40_001 + bool(header)
    with pytest.raises(BadRequestError, match=f'^line {line}, column 2: "x" is not'):
        decode(header + "\n".join(lines), 2)


cells = st.sampled_from(["1", "-2.5", "0", "3e5", "", " ", "nan", "NaN", "NA", "null"]) | st.text(
    "01-+.eE nulaNA\t\r", max_size=6
)


@settings(max_examples=400, deadline=2000)
@given(st.lists(st.lists(cells, min_size=2, max_size=3), min_size=1, max_size=3))
def test_fast_path_reads_nothing_differently(rows):
    body = "\n".join(map(",".join, rows)).encode()
    schema = Schema(len(rows[0]))
    fast = text_csv._fast(body, b",", schema, range(schema.features))
    if fast is not None:
        slow = csv_lines.decode_lines(body, 1, csv_lines.make_layout(b",", schema))
        np.testing.assert_array_equal(fast, slow)


def test_header_wider_than_a_piece():
    names = ",".join(f"feature_{i:060}_" for i in range(1000))
    values = ",".join(["1.5"] * 1000)
    assert len(names) > chunks.CHUNK_BYTES
    assert decode(f"{names}\n{values}\n{values}\n", 1000).tolist() == [[1.5] * 1000] * 2


def test_row_wider_than_a_piece():
    values = ",".join(["1.25"] * 20_000)
    assert decode(f"{values}\n{values}", 20_000).shape == (2, 20_000)


def test_encode():
    assert encode(np.float32([0.1, 2, -3e-20])) == b"0.1\n2.0\n-3e-20\n"
    assert encode(np.float32([[0.1, 2], [3, 4]])) == b"0.1,2.0\n3.0,4.0\n"
    assert encode(np.float32([])) == b""
    assert encode(np.zeros((0, 3), np.float32)) == b""


def test_encode_not_finite():
    column = np.float32([1, np.nan, np.inf, -np.inf])
    assert encode(column) == b"1.0\nnan\ninf\n-inf\n"
    assert encode(column.reshape(2, 2)) == b"1.0,nan\ninf,-inf\n"
