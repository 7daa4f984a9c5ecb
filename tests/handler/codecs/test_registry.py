"""Content types to codecs, Accept headers to content types."""

from __future__ import annotations

import numpy as np
import pytest

from mme_handler import codecs
from mme_handler.codecs import Schema, registry
from mme_handler.errors import BadRequestError, NotAcceptableError, UnsupportedContentTypeError

JSON = "application/json"
CSV = "text/csv"


@pytest.mark.parametrize("content_type", [None, "", " ", CSV, "Text/CSV; charset=utf-8"])
def test_decode_csv(content_type):
    assert codecs.decode(b"1,2\n", content_type, Schema(2)).tolist() == [[1, 2]]


@pytest.mark.parametrize("content_type", [JSON, "application/json;charset=UTF-8"])
def test_decode_json(content_type):
    assert codecs.decode(b"[1,2]", content_type, Schema(2)).tolist() == [[1, 2]]


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded",
        "application/octet-stream",
        "text/plain",
        "text/*",
        "x" * 9999,
    ],
)
def test_unsupported(content_type):
    with pytest.raises(UnsupportedContentTypeError) as caught:
        codecs.decode(b"1,2\n", content_type, Schema(2))
    assert "send one of: application/json, application/jsonlines, " in str(caught.value)
    assert content_type[:50] in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("content_type", [CSV, JSON])
def test_empty_body(content_type):
    with pytest.raises(BadRequestError, match="the body is empty"):
        codecs.decode(b"", content_type, Schema(2))


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, JSON),
        ("", JSON),
        (" , ", JSON),
        ("*/*", JSON),
        ("text/*", CSV),
        ("application/*", JSON),
        (CSV, CSV),
        ("TEXT/CSV", CSV),
        ("application/json; charset=utf-8", JSON),
        ("text/csv, application/json;q=0.5", CSV),
        ("text/csv;q=0.5, application/json", JSON),
        ("text/csv; q=0.5 , application/json ; q=0.4", CSV),
        ("text/csv, application/json", CSV),
        ("application/json, text/csv", JSON),
        ("*/*, text/csv", CSV),
        ("text/html, */*;q=0.1", JSON),
        ("application/json;q=0, */*", CSV),
        ("text/csv;q=abc, application/json;q=0.1", JSON),
        ("text/csv;q=2, application/json;q=0.1", JSON),
        ("text/csv;q=, application/json;q=0.1", JSON),
        ("text/csv;q=-1, application/json;q=0.1", JSON),
        ("nonsense, text/csv", CSV),
        ("text/csv;q=0.001", CSV),
    ],
)
def test_accept(accept, expected):
    assert codecs.choose_accept(accept) == expected


@pytest.mark.parametrize("accept", [None, "", "*/*", "text/*", "application/*;q=0.2, text/*;q=0.3"])
def test_default_when_the_client_leaves_it_open(accept):
    assert codecs.choose_accept(accept, default=CSV) == CSV
    assert codecs.choose_accept("*/*;q=0.5", default=CSV) == CSV
    assert codecs.choose_accept(None, default="text/csv; charset=utf-8") == CSV


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "image/*",
        "text/csv;q=0",
        "*/*;q=0",
        "text/csv;q=abc",
        "text/libsvm",
        "a" * 9999,
    ],
)
def test_not_acceptable(accept):
    with pytest.raises(NotAcceptableError, match="accept one of: application/json, ") as e:
        codecs.encode(np.float32([1]), accept)
    assert len(str(e.value)) < 400


def test_encode_names_its_type():
    scores = np.float32([0.5])
    assert codecs.encode(scores, None) == (b'{"predictions":[{"score":0.5}]}', JSON)
    assert codecs.encode(scores, "text/*") == codecs.Encoded(b"0.5\n", CSV)
    assert codecs.encode(scores, None, default=CSV).content_type == CSV


def test_encode_takes_any_layout():
    table = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert codecs.encode(table.T, CSV).body == b"0.0,3.0\n1.0,4.0\n2.0,5.0\n"
    assert codecs.encode(table[:, 1], CSV).body == b"1.0\n4.0\n"


@pytest.mark.parametrize("shape", [(), (1, 1, 1)])
def test_encode_refuses_other_dimensions(shape):
    with pytest.raises(ValueError, match="dimensions"):
        codecs.encode(np.zeros(shape, np.float32), None)


def test_register(monkeypatch):
    monkeypatch.setattr(registry, "_codecs", dict(registry._codecs))
    codecs.register(codecs.Codec("text/plain", encode=lambda o: str(o[0].values.tolist()).encode()))
    assert codecs.encode(np.float32([1]), "text/plain") == (b"[1.0]", "text/plain")
    with pytest.raises(UnsupportedContentTypeError):
        codecs.decode(b"1", "text/plain", Schema(1))
