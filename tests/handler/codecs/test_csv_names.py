"""text/csv: headers that name the features, categories, and quoted cells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mme_handler.codecs import Schema, chunks, text_csv
from mme_handler.errors import BadRequestError, RequestTooLargeError

NAN = np.nan
X = [[1.0, 2.0], [3.0, 4.0]]
HOUSE = Schema(2, ("AREA", "ROOMS"))
PLAIN = Schema(2)
YEARS = Schema(2, ("AREA", "2019"))
# Column 0 is a number, 1 has texts, 2 has only codes; "NA" and "size" are there to confuse.
CAR = Schema(3, ("size", "colour", "k"), {1: {"red": 0, "a,b": 1, "NA": 2, "size": 3}, 2: {}})
FREE = Schema(2, None, {0: {"red": 4, 'say "x"': 5, "größe_1": 6}})

GOOD = [
    ("AREA,ROOMS\n1,2\n3,4", HOUSE, X),
    ("ROOMS,AREA\n2,1\n4,3", HOUSE, X),
    ("ROOMS;AREA\n2;1\n4;3\n", HOUSE, X),
    (' "ROOMS"\tAREA \r\n+2\t1\r\n4\t3\r\n', HOUSE, X),
    ("\ufeffROOMS,AREA\n2,1\n,+3", HOUSE, [[1, 2], [3, NAN]]),
    ("1,2\n3,4", HOUSE, X),
    ("2019,AREA\n2,1\n4,3", YEARS, X),
    ("2019,2\n3,4", YEARS, [[2019, 2], [3, 4]]),
    ("f1,f0\n2,1\n4,3", PLAIN, X),
    ("b,a\n1,2\n3,4", PLAIN, X),
    ("1,red,7", CAR, [[1, 0, 7]]),
    (",size,NA", CAR, [[NAN, 3, NAN]]),
    ("1,NA,nan\n2,,3", CAR, [[1, 2, NAN], [2, NAN, 3]]),
    ('1,"a,b",7\n2, red ,8', CAR, [[1, 1, 7], [2, 0, 8]]),
    ("1,2,7\n+1,1,7", CAR, [[1, 2, 7], [1, 1, 7]]),
    ("colour,k,size\nred,7,1\n0,8,2", CAR, [[1, 0, 7], [2, 0, 8]]),
    ('k,size,colour\n7,1,"a,b"\n', CAR, [[1, 1, 7]]),
    ('k,size,colour\n7,1,"3"\n', CAR, [[1, 3, 7]]),
    ("red,1.5\nred,2", FREE, [[4, 1.5], [4, 2]]),
    ("red,", FREE, [[4, NAN]]),
    ('"say ""x""";"1"\nred;2', FREE, [[5, 1], [4, 2]]),
    ("größe_1,1\n2,2", FREE, [[6, 1], [2, 2]]),
    ("x,y\nred,1", FREE, [[4, 1]]),
]
NAMES = "line 1: the feature names are not the model's: "
BAD = [
    ("AREA,ROOMS,PRICE\n1,2,3", HOUSE, NAMES + "unknown: 'PRICE'"),
    ("AREA\n1", HOUSE, NAMES + "missing: 'ROOMS'"),
    ("AREA,rooms\n1,2", HOUSE, NAMES + "unknown: 'rooms'; missing: 'ROOMS'"),
    ("AREA,AREA\n1,2", HOUSE, NAMES + "missing: 'ROOMS'; doubled: 'AREA'"),
    ("AREA,ROOMS\n", HOUSE, "the body has no rows; send at least one"),
    ("AREA,1\n1,2", HOUSE, 'line 1, column 1: "AREA" is not a number'),
    ("ROOMS,AREA\n1,2\n3,x", HOUSE, 'line 3, column 2: "x" is not a number'),
    ("ROOMS,AREA\n1,2\n3", HOUSE, "line 3: got 1 value, the model takes 2"),
    ("a," * 200 + "a\n1,2", HOUSE, "line 1: got 201 values, the model takes 2"),
    ('"a",' * 200 + "a\n1,2", HOUSE, "line 1: got more than 102 values, the model takes 2"),
    ('"a\nb",ROOMS\n1,2', HOUSE, "line 1, column 1: the quote is not closed; a line break within "
     "quotes is not supported"),
    ('1,2\n1,"2\n"', HOUSE, "line 2, column 2: the quote is not closed; a line break within "
     "quotes is not supported"),
    ('1,""""', HOUSE, r'line 1, column 2: "\"" is not a number'),
    ("1,blue,7", CAR, "line 1, 'colour': 'blue' is not a category of the model; known are 'red', "
     "'a,b', 'NA', 'size'"),
    ("k,size,colour\n1,2,0\n1,2,blue", CAR, "line 3, 'colour': 'blue' is not a category of the "
     "model; known are 'red', 'a,b', 'NA', 'size'"),
    ("1,red,x", CAR, "line 1, 'k': 'x' is not a category of the model; the model takes codes, "
     "not texts"),
    ("red,red,1", CAR, 'line 1, column 1: "red" is not a number'),
    ("1,inf,7", CAR, 'line 1, column 2: "inf" is infinite or too large for a float32'),
    ("size,colour,year\n1,red,2", CAR, NAMES + "unknown: 'year'; missing: 'k'"),
    ("blue,1", FREE, "line 1, column 1: 'blue' is not a category of the model; known are 'red', "
     "'say \"x\"', 'größe_1'"),
]  # fmt: skip


def decode(text: str, schema: Schema) -> np.ndarray:
    return text_csv.decode(text.encode(), schema)


@pytest.mark.parametrize(("text", "schema", "expected"), GOOD)
def test_good(text, schema, expected):
    matrix = decode(text, schema)
    assert matrix.dtype == np.float32
    assert matrix.flags.c_contiguous
    np.testing.assert_array_equal(matrix, np.array(expected, np.float32))


@pytest.mark.parametrize(("text", "schema", "message"), BAD)
def test_bad(text, schema, message):
    with pytest.raises(BadRequestError) as caught:
        decode(text, schema)
    assert str(caught.value) == message


def test_pieces_change_nothing(monkeypatch):
    lines = [f'{i},{i / 8},"a,b"' if i % 3 else f"{i},,red" for i in range(200)]
    body = "k,size,colour\n" + "\n".join(lines)
    whole = decode(body, CAR)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 64)
    monkeypatch.setattr(text_csv, "CHUNK_BYTES", 64)
    np.testing.assert_array_equal(decode(body, CAR), whole)
    assert whole[:2].tolist()[1] == [0.125, 1, 1]


texts = st.sampled_from(
    ["1", "-2.5", "", "nan", "NA", "red", "a,b", '"a,b"', '"', '""', "size", "colour", "k", "blue"]
)
lines = st.lists(st.lists(texts, min_size=2, max_size=4).map(",".join), min_size=1, max_size=3)


@settings(max_examples=300, deadline=2000)
@given(st.binary(max_size=60) | lines.map("\n".join).map(str.encode), st.sampled_from([CAR, FREE]))
def test_any_body_is_a_matrix_or_refused(body, schema):
    try:
        matrix = text_csv.decode(body, schema)
    except (BadRequestError, RequestTooLargeError):
        return
    assert matrix.dtype == np.float32
    assert matrix.shape[1] == schema.features
    assert not np.isinf(matrix).any()
