"""Pieces put together give the whole, and no piece is much larger than it may be."""

from __future__ import annotations

import numpy as np
import pytest

from mme_handler.codecs import chunks


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 10)
    monkeypatch.setattr(chunks, "CHUNK_VALUES", 4)


def test_pieces_end_with_the_mark():
    body = b"".join(b"%d\n" % i for i in range(100)) + b"end"
    pieces = list(chunks.pieces(memoryview(body), b"\n"))
    assert b"".join(pieces) == body
    assert all(piece.endswith(b"\n") and len(piece) <= 10 for piece in pieces[:-1])


def test_a_long_line_stays_whole():
    body = b"1\n" + b"2" * 95 + b"\n3\n" + b"4" * 30
    assert [p for piece in chunks.pieces(memoryview(body), b"\n") for p in piece.split()] == (
        body.split()
    )


def test_pieces_without_a_mark():
    assert list(chunks.pieces(memoryview(b"," * 1000), b"\n")) == [b"," * 1000]


@pytest.mark.parametrize(
    ("count", "width", "sizes"), [(5, 2, [2, 2, 1]), (2, 9, [1, 1]), (0, 1, [])]
)
def test_batches(count, width, sizes):
    rows = range(count)
    batches = [rows[batch] for batch in chunks.batches(count, width)]
    assert [len(batch) for batch in batches] == sizes
    assert [row for batch in batches for row in batch] == list(rows)


def test_number_texts_show_their_rows():
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    shown = list(chunks.number_texts(table))
    assert shown[0][0] == b"[[0.0,1.0,2.0]]"
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in shown]), table)
