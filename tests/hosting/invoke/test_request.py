"""What a request is made of: content types by suffix, bodies, attributes."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from mme_handler import codecs
from mme_handler.codecs import registry
from mme_hosting.errors import HostingError
from mme_hosting.invoke.request import CONTENT_TYPES, LARGEST, Request, content_type_of


def request(**more):
    return Request(**{"target": "Chicago_IL.tar.gz", "content_type": "text/csv", **more})


def test_every_content_type_that_is_read_has_a_suffix():
    readable = {codec.content_type for codec in registry._codecs.values() if codec.decode}
    assert set(CONTENT_TYPES.values()) == readable
    assert codecs.application_json  # they are registered


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (None, "text/csv"),
        ("-", "text/csv"),
        ("a/rows.CSV", "text/csv"),
        ("rows.jsonl", "application/jsonlines"),
        ("rows.v2.parquet", "application/x-parquet"),
        ("rows.pbr", "application/x-recordio-protobuf"),
    ],
)
def test_the_suffix_says_the_content_type(file, expected):
    assert content_type_of(Path(file) if file else None) == expected


@pytest.mark.parametrize("file", ["rows", "rows.txt", ".csv"])
def test_a_suffix_that_says_nothing(file):
    with pytest.raises(HostingError, match="none of the suffixes"):
        content_type_of(Path(file))


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (None, "trace=true"),
        ("", "trace=true"),
        ("output=margin,leaf", "output=margin,leaf;trace=true"),
        ("a=1; b=2;", "a=1; b=2;trace=true"),
        ('{"a": "x=1"}', '{"a": "x=1"}'),
        ("a=1;{x}", "a=1;{x}"),
        ("words", "words"),
        ("a=" + "x" * 1022, "a=" + "x" * 1022),
    ],
)
def test_the_trace_goes_with_what_has_the_same_form(given, sent):
    assert request(attributes=given).traced == sent


@pytest.mark.parametrize(
    "wrong",
    [
        {"attributes": "a=ü"},
        {"attributes": "a=1\r\nX: y"},
        {"accept": "\x1b"},
        {"target": "模.tar.gz"},
    ],
)
def test_what_no_header_can_carry(wrong):
    with pytest.raises(HostingError, match="a header cannot carry"):
        request(**wrong)


def test_attributes_that_are_too_long():
    with pytest.raises(HostingError, match="have 1,025 characters, and SageMaker takes 1,024"):
        request(attributes="a=" + "x" * 1023)


def test_bodies(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_bytes(b"1,2\r\n")
    assert request(data="ä").body(io.BytesIO()) == "ä".encode()
    assert request(data="\udcff").body(io.BytesIO()) == b"\xff"  # as Python has a byte of argv
    assert request(file=file).body(io.BytesIO()) == b"1,2\r\n"
    assert request(file=Path("-")).body(io.BytesIO(b"\0\n")) == b"\0\n"


def test_a_body_above_the_limit(tmp_path):
    file = tmp_path / "rows.csv"
    with file.open("wb") as stream:
        stream.truncate(LARGEST)
    assert len(request(file=file).body(io.BytesIO())) == LARGEST
    with file.open("wb") as stream:
        stream.truncate(LARGEST + 1)
    for made in (request(file=file), request(file=Path("-"))):
        with pytest.raises(HostingError, match="more than the 25 MB that SageMaker takes"):
            made.body(io.BytesIO(bytes(LARGEST + 1)))


@pytest.mark.parametrize(("name", "why"), [("none.csv", "No such file"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read(tmp_path, name, why):
    with pytest.raises(HostingError, match=f"cannot be read: {why}"):
        request(file=tmp_path / name).body(io.BytesIO())
