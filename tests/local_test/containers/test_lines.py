from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mme_local.containers.lines import Lines


def _cut(*pieces: bytes) -> list[str]:
    found: list[str] = []
    lines = Lines(found.append)
    for piece in pieces:
        lines.feed(piece)
    lines.close()
    return found


def test_lines_come_whole() -> None:
    assert _cut(b"one\nt", b"wo", b"\n\nthree\r\nfo", b"ur") == ["one", "two", "", "three", "four"]


def test_what_is_no_text_is_replaced() -> None:
    assert _cut(b"\xff\n") == ["\N{REPLACEMENT CHARACTER}"]


def test_a_line_that_does_not_end_comes_in_pieces() -> None:
    pieces = _cut(*[b"x" * 100_000] * 7)
    assert [len(piece) for piece in pieces] == [262_144, 262_144, 175_712]


@given(st.lists(st.text("ab\n", max_size=9).map(str.encode)))
def test_how_it_comes_makes_no_difference(pieces: list[bytes]) -> None:
    whole = b"".join(pieces).decode()
    assert _cut(*pieces) == whole.removesuffix("\n").split("\n") * bool(whole)
