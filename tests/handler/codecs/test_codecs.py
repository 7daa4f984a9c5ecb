"""What holds for every codec: numbers survive, and no body does harm."""

from __future__ import annotations

import json

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mme_handler import codecs
from mme_handler.codecs import Schema
from support.codecs import check_matrix_or_bad_request, check_refused_quickly

JSON = "application/json"
CSV = "text/csv"

finite32 = st.floats(width=32, allow_infinity=False)
shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=8)
matrices = hnp.arrays(np.float32, shapes, elements=finite32)
predictions = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=1, max_dims=2, max_side=8), elements=st.floats(width=32)
)
quick = settings(max_examples=150, deadline=2000)


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    nans = np.isnan(a)
    return (
        a.shape == b.shape
        and np.array_equal(nans, np.isnan(b))
        and np.array_equal(a.view(np.uint32)[~nans], b.view(np.uint32)[~nans])
    )


@quick
@given(matrices, st.sampled_from(["{!r}", "{:+}", "{:.17e}", '"{}"']), st.sampled_from(",;\t"))
def test_csv_numbers_survive(matrix, style, separator):
    lines = (separator.join(style.format(v) for v in row) for row in matrix.tolist())
    body = "\n".join(lines).encode()
    assert same_bits(codecs.decode(body, CSV, Schema(matrix.shape[1])), matrix)


@quick
@given(matrices, st.booleans())
def test_json_numbers_survive(matrix, shortest):
    option = orjson.OPT_SERIALIZE_NUMPY
    body = orjson.dumps({"instances": matrix if shortest else matrix.tolist()}, option=option)
    assert same_bits(codecs.decode(body, JSON, Schema(matrix.shape[1])), matrix)


@quick
@given(st.lists(st.floats(-3e38, 3e38) | st.integers(-(2**70), 2**70), min_size=1, max_size=9))
def test_csv_and_json_give_the_same_number(values):
    text = json.dumps(values)
    columns = len(values)
    from_json = codecs.decode(text.encode(), JSON, Schema(columns))
    from_csv = codecs.decode(text[1:-1].encode(), CSV, Schema(columns))
    quoted = '"' + text[1:-1].replace(", ", '","') + '"'
    from_quoted = codecs.decode(quoted.encode(), CSV, Schema(columns))
    assert same_bits(from_json, from_csv)
    assert same_bits(from_quoted, from_csv)


@quick
@given(predictions)
def test_predictions_survive(scores):
    table = scores.reshape(len(scores), -1)
    lines = codecs.encode(scores, CSV).body.decode().splitlines()
    read = np.array([[np.float32(cell) for cell in line.split(",")] for line in lines])
    assert same_bits(read, table)

    answer = json.loads(codecs.encode(scores, JSON).body)["predictions"]
    read = np.array([p["score"] for p in answer], np.float32).reshape(table.shape)
    assert same_bits(read, np.where(np.isfinite(table), table, np.float32(np.nan)))


def test_all_kinds_of_float32_survive():
    bits = np.random.default_rng(0).integers(0, 2**32, 50_000, dtype=np.uint32)
    values = bits.view(np.float32)
    values = values[np.isfinite(values)]
    text = codecs.encode(values, CSV).body
    assert same_bits(codecs.decode(text, CSV, Schema(1))[:, 0], values)
    assert same_bits(np.array(text.split(), dtype=np.float32), values)


jsonish = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["instances", "features", "x"]), inner, max_size=2)
    ),
    max_leaves=12,
).map(lambda value: json.dumps(value).encode())
bodies = (
    st.binary(max_size=200)
    | st.text('0123456789+-.eE,;\t\r\n "nulaNAif_[]{}:x', max_size=40).map(str.encode)
    | jsonish
)


def reader(content_type):
    return lambda body, schema: codecs.decode(body, content_type, schema)


@settings(max_examples=500, deadline=2000)
@given(bodies, st.sampled_from([CSV, JSON]), st.integers(1, 4))
def test_any_body_is_a_matrix_or_a_bad_request(body, content_type, features):
    check_matrix_or_bad_request(reader(content_type), body, features)


HOSTILE = {
    "commas": b"," * 25_000_000,
    "newlines": b"\n" * 25_000_000,
    "spaces": b" " * 25_000_000,
    "open lists": b"[" * 1_000_000,
    "nested lists": b"[" * 1_000_000 + b"]" * 1_000_000,
    "open objects": b'{"features":' * 200_000,
    "list in instances": b'{"instances": [' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"]}",
    "digits": b"1" * 25_000_000,
    "quotes": b'"' * 10_000_000,
    "quoted cells": b'"a",' * 5_000_000,
    "one list of commas": b"[" + b"," * 10_000_000 + b"]",
    "closing brackets": b"[[" + b"]" * 10_000_000,
    "nulls": b"[[" + b"null," * 1_000_000 + b"null]]",
    "zero bytes": bytes(10_000_000),
    "letters": b"a," * 5_000_000,
    "invalid UTF-8": b"\xff" * 10_000_000,
}


@pytest.mark.parametrize("content_type", [CSV, JSON])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bodies_end_quickly(name, content_type):
    check_refused_quickly(reader(content_type), HOSTILE[name], within=2)
