"""Large CSV bodies: pyarrow reads them, and nobody can tell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mme_handler.codecs import Schema, csv_bulk, text_csv
from mme_handler.errors import BadRequestError

NUMBERS = ["1", "-2.5", "1e5", "0.1", ".5", "5.", "+1", "1e400", "-1e39", "123456789012345678901"]
WORDS = ["", " ", "nan", "NaN", "NAN", "-nan", "NA", "na", "null", "nul", "e", "-", "1 2", " 7 "]
cells = st.sampled_from(NUMBERS) | st.sampled_from(WORDS) | st.floats(width=32).map(repr)
rows = st.lists(st.lists(cells, min_size=1, max_size=3), min_size=1, max_size=6)
FEATURES = 2


def decode(monkeypatch: pytest.MonkeyPatch, smallest: int, body: bytes) -> object:
    monkeypatch.setattr(csv_bulk, "SMALLEST", smallest)
    try:
        matrix = text_csv.decode(body, Schema(FEATURES, ("a", "b")))
    except BadRequestError as error:
        return str(error)
    return [[None if np.isnan(v) else v for v in row] for row in matrix.tolist()]


@pytest.fixture(scope="module")
def patch():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


LARGE = csv_bulk.SMALLEST


@settings(max_examples=400)
@given(rows, st.sampled_from(",;\t"), st.sampled_from(["\n", "\r\n", "\r"]), st.booleans())
@example([["1", "2"], ["", ""]], ",", "\n", False)
@example([["1", "2"], ["1", "nan"], ["-nan", "NA"]], ",", "\r\n", True)
def test_the_same_as_in_pieces(patch, table, separator, newline, header):
    lines = [["b", "a"], *table] if header else table
    body = newline.join(separator.join(line) for line in lines).encode()
    in_bulk, in_pieces = (decode(patch, smallest, body) for smallest in (0, 1 << 30))
    assert in_bulk == in_pieces


@settings(max_examples=300)
@given(st.text("0123456789+-.eE \t\r\nnulaNA,", max_size=40))
def test_of_any_text(patch, text):
    in_bulk, in_pieces = (decode(patch, n, text.encode() + b"1,2") for n in (0, 1 << 30))
    assert in_bulk == in_pieces


def test_a_large_body(monkeypatch):
    rows = np.random.default_rng(0).normal(size=(20_000, 6)).astype(np.float32)
    rows[rows > 2] = np.nan
    text = "\n".join(",".join("" if v != v else repr(v) for v in row) for row in rows.tolist())
    body = text.encode()
    assert len(body) > LARGE
    monkeypatch.setattr(csv_bulk, "SMALLEST", LARGE)
    matrix = csv_bulk.decode(memoryview(body), b",", 6)
    assert matrix is not None
    assert matrix.flags.c_contiguous
    np.testing.assert_array_equal(matrix, rows)
    np.testing.assert_array_equal(text_csv.decode(body, Schema(6)), rows)


def test_a_million_rows():
    body = b"1,2\n3,4\n" * 500_000
    matrix = text_csv.decode(body, Schema(2))
    assert matrix.shape == (1_000_000, 2)
    assert matrix.sum() == 5_000_000
    with pytest.raises(BadRequestError, match="line 1000001, column 2"):
        text_csv.decode(body + b"5,x", Schema(2))


@pytest.mark.parametrize(
    "body", [b'1,"2"', b"1,inf", b"1,2\r3,4", b"1,2,3", b"1\n1,2", b"1,2\n\n3,4", b"x,1"]
)
def test_what_takes_a_closer_look(body):
    assert csv_bulk.decode(memoryview(body), b",", 2) is None
