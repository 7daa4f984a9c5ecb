"""text/libsvm: sparse rows, from either base, and how mistakes are named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mme_handler.codecs import Schema, chunks, text_libsvm
from mme_handler.errors import BadRequestError, RequestTooLargeError
from support.codecs import check_matrix_or_bad_request, check_refused_quickly

NAN = np.nan
X = [[1.0, 2.0], [3.0, 4.0]]
HINT = "declare it with libsvm_index_base in the model's settings, or MME_LIBSVM_INDEX_BASE"

GOOD = [
    ("0:1 1:2", [[1, 2]]),
    ("1 0:1 1:2\n0 0:3 1:4\n", X),
    ("0:1 1:2\r\n0:3 1:4\r\n", X),
    ("7 0:1 1:2\n0:3 1:4", X),
    ("0:1 1:2\n7 0:3 1:4", X),
    ("1 0:1 1:2 \n1 0:3 1:4 \n", X),
    ("  1   0:1\t1:2\n1\t0:3  1:4\t", X),
    ("1:2 0:1\n1:4 0:3", X),
    ("1 qid:3 0:1 1:2\nqid:4 0:3 1:4", X),
    ("1 0:1 1:2 # 1:9\n1 0:3 1:4 #", X),
    ("# made by hand\n1 0:1 1:2\n# the last\n1 0:3 1:4\n#", X),
    ("1 0:1 1:2\n1 0:3 1:4\n \r\n\n", X),
    ("\ufeff0:1 1:2\n0:3 1:4", X),
    ("-1 0:+1 1:2.\n+1 0:3e0 1:.4E+1", X),
    ("00:1 01:2\n0:3 1:4", X),
    ("1 1:2\n0:3", [[NAN, 2], [3, NAN]]),
    ("1\n0\n1 0:3 1:4", [[NAN, NAN], [NAN, NAN], [3, 4]]),
    ("0", [[NAN, NAN]]),
    ("qid:1", [[NAN, NAN]]),
    ("nan 0:nan 1:NaN\n1 0:NA 1:null", [[NAN, NAN], [NAN, NAN]]),
    ("0:0 1:-0", [[0, 0]]),
    ("1:123456789012345678901234567890", [[NAN, 1.2345679e29]]),
    ("0:1e-400 1:3.4028235e38", [[0, 3.4028235e38]]),
]

BAD = [
    ("\n \r\n", "the body is empty"),
    ("# nothing\n#\n", "the body has no rows"),
    ("0:1\n\n0:2", "line 2 is blank"),
    ("\n0:1", "line 1 is blank"),
    ("1,2", 'line 1, label: "1,2" is not a number'),
    ("0:1\nabc 1:2", 'line 2, label: "abc" is not a number'),
    ("1_0 1:2", 'line 1, label: "1_0" is not a number'),
    ("\uff11 1:2", 'line 1, label: "\uff11" is not a number'),
    ("1 0:1 5", 'line 1: "5" is not index:value'),
    ("1 2 0:1", 'line 1: "2" is not index:value'),
    ("1 a:1", 'line 1: "a:1" is not index:value with a whole number as the index'),
    ("1 -1:1", '"-1:1" is not index:value'),
    ("1 1.0:1", '"1.0:1" is not index:value'),
    ("1 1e0:1", '"1e0:1" is not index:value'),
    ("1 \uff11:1", '"\uff11:1" is not index:value'),
    ("1 :1", '":1" is not index:value'),
    ("1 0:1 qid:1", '"qid:1" is not index:value'),
    ("1 qid:x 0:1", '"qid:x" is not index:value'),
    ("1 0:1:1", 'line 1, index 0: "1:1" is not a number'),
    ("1 0:", 'line 1, index 0: "" is not a number'),
    ("1 0:1\n1 1:x", 'line 2, index 1: "x" is not a number'),
    ("1 0:1_0", 'line 1, index 0: "1_0" is not a number'),
    ("1 0:0x1", 'line 1, index 0: "0x1" is not a number'),
    ("1 0:inf", 'line 1, index 0: "inf" is infinite or too large for a float32'),
    ("1 0:1\n1 1:-1e39", 'line 2, index 1: "-1e39" is infinite or too large'),
    ("1 0:1e400", 'line 1, index 0: "1e400" is infinite or too large'),
    ("1 0:1 0:1", "line 1: index 0 is there twice"),
    ("1 1:1 0:1 1:2", "line 1: index 1 is there twice"),
    ("0:1 " * 1000, "line 1: index 0 is there twice"),
    ("1 3:1", "line 1: index 3 is out of the model's range, 0 to 1"),
    ("1 0:1\n1 99999999999999999999:1", "line 2: index 999999999999999999... is out of"),
    ("1 " + "9" * 5000 + ":1", "line 1: index 999999999999999999... is out of"),
]


def decode(text: str, features: int = 2, base: int = 0) -> np.ndarray:
    return text_libsvm.decode(text.encode(), Schema(features, index_base=base))


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
    assert len(str(caught.value)) < 300


def test_invalid_utf8_names_the_line():
    with pytest.raises(BadRequestError, match="line 2: the body is not valid UTF-8"):
        text_libsvm.decode(b"0:1\n0:\xff", Schema(1))


def test_base_one():
    assert decode("1 1:1 2:2\n1 1:3 2:4", base=1).tolist() == X


@pytest.mark.parametrize(("text", "base"), [("1 0:1 2:2", 0), ("1 1:1 0:2", 1)])
def test_what_looks_like_the_other_base_says_how_to_declare_it(text, base):
    with pytest.raises(BadRequestError) as caught:
        decode(text, base=base)
    assert f"out of the model's range, {base} to {base + 1}; if the indices of this body" in str(
        caught.value
    )
    assert f"begin at {1 - base}, {HINT}" in str(caught.value)


@pytest.mark.parametrize(("text", "base"), [("1 3:2", 0), ("1 3:2", 1)])
def test_other_indices_have_no_such_hint(text, base):
    with pytest.raises(BadRequestError) as caught:
        decode(text, base=base)
    assert "libsvm_index_base" not in str(caught.value)


@settings(max_examples=150, deadline=2000)
@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=8),
        elements=st.floats(width=32, allow_infinity=False),
    ),
    st.sampled_from([0, 1]),
    st.sampled_from(["", "1 ", "-0.5 qid:7 "]),
    st.sampled_from(["\n", "\r\n", " \n", " # c\n"]),
    st.sampled_from(["{}:{!r}", "{}:{:.17e}", "{}:{:+}"]),
)
def test_numbers_survive(matrix, base, head, end, style):
    rows = [[(i, v) for i, v in enumerate(row, base) if v == v] for row in matrix.tolist()]
    lines = (head + " ".join(style.format(i, v) for i, v in row) for row in rows)
    body = "".join((line or "0") + end for line in lines)
    read = decode(body, matrix.shape[1], base)
    np.testing.assert_array_equal(read, matrix)
    there = ~np.isnan(matrix)
    np.testing.assert_array_equal(read.view(np.uint32)[there], matrix.view(np.uint32)[there])


tokens = st.sampled_from(["0:1", "1:2.5", "2:-3e5", "3:1", "01:1", "1.0:2", "-0:1", "1", "2:nan"])
odd = st.text("0123:.-+eE \t\r\n#nq", max_size=8)


@settings(max_examples=500, deadline=2000)
@given(
    st.lists(st.lists(tokens | odd, max_size=4).map(" ".join), max_size=4).map("\n".join),
    st.sampled_from([0, 1]),
)
@example("1\n2:1\n1:1:", 0)
def test_fast_path_reads_nothing_differently(text, base):
    schema = Schema(3, index_base=base)
    fast = text_libsvm._fast(text.encode(), schema)
    if fast is not None:
        slow = text_libsvm._slow(text.encode(), 1, schema)
        assert fast.height == slow.height
        cells = [sorted(zip(*(a.tolist() for a in c[1:]), strict=True)) for c in (fast, slow)]
        assert cells[0] == cells[1]


def test_fast_path_is_taken():
    schema = Schema(3)
    for text in ("1 0:1 2:-2.5e3\r\n0\n1:1 \n2 1:1 0:3", "0:1\t1:2"):
        assert text_libsvm._fast(text.encode(), schema) is not None


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("head", ["", "# a comment\n"])
def test_pieces_change_nothing(monkeypatch, newline, head):
    rows = [f"{i} {i % 3}:{i / 8}" + " #" * (i % 7 == 0) for i in range(200)]
    body = head + newline.join(rows)
    whole = decode(body, 3)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 64)
    for end in ("", newline, newline * 100):
        np.testing.assert_array_equal(decode(body + end, 3), whole)
    assert whole.shape == (200, 3)


def test_large_body_names_the_line():
    lines = ["1 0:1.5 1:2.5"] * 20_000
    lines[15_000] = "1 0:1.5 1:x"
    with pytest.raises(BadRequestError, match=r"^line 15001, index 1: \"x\" is not"):
        decode("\n".join(lines))


def test_short_lines_of_many_features_take_bounded_memory():
    with pytest.raises(RequestTooLargeError, match="10,000 rows of 100,000 features"):
        decode("0\n" * 10_000, 100_000)


@settings(max_examples=300, deadline=2000)
@given(
    st.binary(max_size=100) | st.text("0123456789:. \n#qid-enax", max_size=60).map(str.encode),
    st.integers(1, 4),
)
def test_any_body_is_a_matrix_or_a_bad_request(body, features):
    check_matrix_or_bad_request(text_libsvm.decode, body, features)


HOSTILE = {
    "newlines": b"\n" * 5_000_000,
    "newlines before a row": b"\n" * 5_000_000 + b"1",
    "colons": b":" * 5_000_000,
    "labels": b"1 " * 2_000_000,
    "one feature": b"0:1 " * 1_000_000,
    "digits": b"0:" + b"1" * 5_000_000,
    "comments": b"#\n" * 1_000_000,
    "zero bytes": bytes(5_000_000),
    "invalid UTF-8": b"\xff" * 5_000_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bodies_end_quickly(name):
    check_refused_quickly(text_libsvm.decode, HOSTILE[name])


def test_categories():
    schema = Schema(2, None, {0: {"10": 0, "20": 1}})
    assert text_libsvm.decode(b"1 0:20 1:10\n0:10 1:1", schema).tolist() == [[1, 10], [0, 1]]
    with pytest.raises(BadRequestError, match="30 is not a category"):
        text_libsvm.decode(b"0:30 1:1", schema)
