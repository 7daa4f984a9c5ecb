"""application/json: every shape of a document, names, categories and tensors."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mme_handler.codecs import Schema, application_json, chunks, text_csv
from mme_handler.codecs.schema import MAX_CELLS
from mme_handler.errors import BadRequestError, RequestTooLargeError

NAN = np.nan
X = [[1.0, 2.0], [3.0, 4.0]]
HOUSE = Schema(2, ("AREA", "ROOMS"))
PLAIN = Schema(2)
ONE = Schema(1, ("features",))
ODD = Schema(2, ("features", "inputs"))
CAR = Schema(2, ("size", "colour"), {1: {"red": 0, "NA": 1, "7": 2}})
CODES = Schema(1, None, {0: {}})


def tensor(shape, data, name="x", datatype="FP32"):
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


RECORDS = [{"AREA": 1, "ROOMS": 2}, {"ROOMS": 4, "AREA": 3}]
SPLIT = {"columns": ["ROOMS", "AREA"], "index": [0, 1], "data": [[2, 1], [4, 3]]}
COLUMNS = {"ROOMS": [2, 4], "AREA": [1, 3]}
BY_NAME = [tensor([2], [2, 4], "ROOMS", "INT64"), tensor([2, 1], [[1], [3]], "AREA", "FP64")]
GOOD = [
    (RECORDS, HOUSE, X),
    ([RECORDS[0], [3, 4], {"features": [5, None]}], HOUSE, [*X, [5, NAN]]),
    ([{"f1": 2, "f0": 1}], PLAIN, [[1, 2]]),
    ([{"AREA": None, "ROOMS": "NaN"}], HOUSE, [[NAN, NAN]]),
    (RECORDS[1], HOUSE, [[3, 4]]),
    (COLUMNS, HOUSE, X),
    ({"f1": [2, 4], "f0": [1, 3]}, PLAIN, X),
    (SPLIT, HOUSE, X),
    ({"columns": ["a", "b"], "data": X}, PLAIN, X),
    ({"columns": [0, 1], "data": X}, PLAIN, X),
    ({"columns": ["ROOMS", "AREA"], "data": [2, 1]}, HOUSE, [[1, 2]]),
    ({"dataframe_split": SPLIT}, HOUSE, X),
    *(({key: rows}, HOUSE, X) for key in ("instances", "dataframe_records", "inputs", "features")
      for rows in (RECORDS, X)),
    ({"inputs": COLUMNS}, HOUSE, X),
    ({"inputs": RECORDS[0]}, HOUSE, [[1, 2]]),
    ({"id": "1", "inputs": [tensor([2, 2], [1, 2, 3, 4])]}, HOUSE, X),
    ({"inputs": [tensor([2, 2], X)]}, PLAIN, X),
    ({"inputs": [tensor([2], [1, None])]}, PLAIN, [[1, NAN]]),
    ({"inputs": BY_NAME}, HOUSE, X),
    ({"inputs": [tensor([1], [1]), tensor([1], [2], "y")]}, PLAIN, [[1, 2]]),
    ({"inputs": [tensor([2], [True, False], datatype="BOOL")]}, PLAIN, [[1, 0]]),
    ({"inputs": [tensor([3], [1, 2, 3])]}, Schema(1), [[1], [2], [3]]),
    ({"inputs": [tensor([2], [3, 4], "size"), tensor([2], ["red", "NA"], "colour", "BYTES")]},
     CAR, [[3, 0], [4, 1]]),
    ([[1, "red"], [2, "NA"], [3, None], [4, 7]], CAR, [[1, 0], [2, 1], [3, NAN], [4, 2]]),
    ([["nan", "nan"], ["NaN", "7"]], CAR, [[NAN, NAN], [NAN, 2]]),
    ([{"colour": "red", "size": 3}], CAR, [[3, 0]]),
    ({"colour": ["red", "7"], "size": [3, 4]}, CAR, [[3, 0], [4, 2]]),
    # What could be read in two ways.
    ({"features": [1, 2]}, ONE, [[1], [2]]),
    ([{"features": 1}, {"features": [2]}], ONE, [[1], [2]]),
    ({"inputs": 2, "features": 1}, ODD, [[1, 2]]),
    ({"inputs": [[1, 2]]}, ODD, [[1, 2]]),
    ({"instances": X, "features": [9, 9]}, HOUSE, X),
]  # fmt: skip

NAMES = "the feature names are not the model's: "
SEND = '; send {"instances": [row, ..]}, {"features": row} or [row, ..]'
BAD = [
    ([RECORDS[0], {"AREA": 1}], HOUSE, f"row 2: {NAMES}missing: 'ROOMS'"),
    ([{"AREA": 1, "rooms": 2}], HOUSE, f"row 1: {NAMES}unknown: 'rooms'; missing: 'ROOMS'"),
    ([{"AREA": 1, "ROOMS": 2, "x": 3}], HOUSE, f"row 1: {NAMES}unknown: 'x'"),
    ([{"AREA": 1, "ROOMS": 2}], PLAIN, 'row 1: the object has no "features", and the model has '
     "no feature names: send lists"),
    ({"AREA": 1, "ROOMS": 2}, PLAIN, 'the object has no "instances" or "features", and the model '
     "has no feature names" + SEND),
    ({"AREA": 1}, HOUSE, f"{NAMES}missing: 'ROOMS'"),
    ({"a": 1}, HOUSE, 'the object has no "instances" or "features", nor the model\'s feature '
     "names" + SEND),
    ({"f0": 1}, PLAIN, f"{NAMES}missing: 'f1'"),
    ({"AREA": [1, 2], "ROOMS": [1]}, HOUSE, "'ROOMS' has 1 values, 'AREA' has 2: send one of each "
     "feature for every row"),
    ({"AREA": [1, 2], "ROOMS": 3}, HOUSE, "'ROOMS': expected a list of values, as of other "
     "features, got 3"),
    ({"AREA": [], "ROOMS": []}, HOUSE, "the body has no rows; send at least one"),
    ({"AREA": [1, 2], "ROOMS": [3, "x"]}, HOUSE, "row 2, 'ROOMS': \"x\" is not a number"),
    ({"AREA": {"0": 1}, "ROOMS": 1}, HOUSE, "row 1, 'AREA': an object is not a number"),
    ({"columns": ["AREA"], "data": [[1]]}, HOUSE, f"{NAMES}missing: 'ROOMS'"),
    ({"columns": ["ROOMS", "AREA"], "data": [[1, 2], [1]]}, HOUSE,
     "row 2: got 1 value, the model takes 2"),
    ({"columns": ["ROOMS", "AREA"], "data": [[1, 2], {"features": [1, 2]}]}, HOUSE,
     "row 2: expected a list of values, got an object"),
    ({"columns": ["ROOMS", "AREA"], "data": 3}, HOUSE, '"data": expected a list of rows, got 3'),
    ({"columns": ["ROOMS", "AREA"], "data": []}, HOUSE, "the body has no rows; send at least one"),
    ({"columns": "AREA", "data": []}, HOUSE, '"columns" must be a list of feature names'),
    ({"columns": [[]], "data": []}, HOUSE, '"columns" must be a list of feature names'),
    ({"dataframe_split": {"data": X}}, HOUSE,
     '"dataframe_split" must be an object with "columns" and "data"'),
    ({"inputs": 3}, HOUSE, "expected a list of rows, got 3" + SEND),
    ({"inputs": {"AREA": [1]}}, HOUSE, f"{NAMES}missing: 'ROOMS'"),
    ([[1, "blue"]], CAR, "row 1, 'colour': 'blue' is not a category of the model; known are 'red', "
     "'NA', '7'"),
    ([["red", 1]], CAR, "row 1, 'size': \"red\" is not a number"),
    (["x"], CODES, "row 1, column 1: 'x' is not a category of the model; the model takes codes, "
     "not texts"),
]  # fmt: skip

BAD_TENSORS = [
    ([tensor([2, 2], [1, 2, 3])], 'input 1 ("x"): the shape [2, 2] needs 4 values, got 3'),
    ([tensor([2, 2], [[1, 2], [3]])],
     'input 1 ("x"): the lists in the data do not fit the shape [2, 2]'),
    ([tensor([2, 2], [[1, 2]])], 'input 1 ("x"): the shape [2, 2] needs 4 values, got 2'),
    ([tensor([1, 3], [1, 2, 3])],
     'input 1 ("x"): the shape [1, 3] has 3 features, the model takes 2'),
    ([tensor([1, 1, 2], [1, 2])], 'input 1 ("x"): "shape" must be a list of one or two whole '
     "numbers, as in [1, 2]"),
    ([tensor([True, 2], [1, 2])], 'input 1 ("x"): "shape" must be a list of one or two whole '
     "numbers, as in [1, 2]"),
    ([tensor([0, 2], [])], 'input 1 ("x"): the tensor has no rows; send at least one'),
    ([tensor([1, 2], 3)], 'input 1 ("x"): "data" must be a list, got 3'),
    ([tensor([1, 2], [1, 2], 5)], "input 1: the name must be a text"),
    ([{"shape": [1, 2], "datatype": "FP32"}],
     'input 1: the tensor has no "data"; send the values as JSON'),
    ([tensor([1, 2], [1, 2], datatype="BF16")], 'input 1 ("x"): the datatype "BF16" is not '
     "supported; send one of: FP16, FP32, FP64, INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, "
     "UINT64, BOOL, BYTES"),
    ([tensor([1, 2], ["a", "b"], datatype="BYTES")], "row 1, 'AREA': \"a\" is not a number"),
    ([tensor([1, 2], [1, True])], "row 1, 'ROOMS': true is not a number"),
    ([BY_NAME[0], tensor([1], [1], "AREA")],
     'input 2 ("AREA") has 1 rows, input 1 ("ROOMS") has 2'),
    ([BY_NAME[0], tensor([2], [1, 2], "b")], f"{NAMES}unknown: 'b'; missing: 'AREA'"),
    ([BY_NAME[0], tensor([1, 2], [1, 2], "AREA")], 'input 2 ("AREA"): the shape is [1, 2]; send '
     "one tensor of shape [rows, 2], or one of shape [rows] for each feature"),
    ([BY_NAME[0], 3], "input 2: expected a tensor, got 3"),
]  # fmt: skip


def decode(document, schema: Schema) -> np.ndarray:
    return application_json.decode(json.dumps(document).encode(), schema)


@pytest.mark.parametrize("size", [8, chunks.CHUNK_BYTES])
@pytest.mark.parametrize(("document", "schema", "expected"), GOOD)
def test_good(monkeypatch, document, schema, expected, size):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", size)
    monkeypatch.setattr(chunks, "CHUNK_VALUES", size)
    monkeypatch.setattr(application_json, "CHUNK_BYTES", size)
    matrix = decode(document, schema)
    assert matrix.dtype == np.float32
    assert matrix.flags.c_contiguous
    np.testing.assert_array_equal(matrix, np.array(expected, np.float32))


@pytest.mark.parametrize("size", [8, chunks.CHUNK_BYTES])
@pytest.mark.parametrize(("document", "schema", "message"), BAD)
def test_bad(monkeypatch, document, schema, message, size):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", size)
    monkeypatch.setattr(application_json, "CHUNK_BYTES", size)
    with pytest.raises(BadRequestError) as caught:
        decode(document, schema)
    assert str(caught.value) == message


@pytest.mark.parametrize(("tensors", "message"), BAD_TENSORS)
def test_bad_tensors(tensors, message):
    test_bad(pytest.MonkeyPatch(), {"inputs": tensors}, HOUSE, message, chunks.CHUNK_BYTES)


def test_too_many_rows(monkeypatch):
    monkeypatch.setattr("mme_handler.codecs.schema.MAX_CELLS", 2)
    assert MAX_CELLS > 2
    for tensors in ([tensor([2, 2], X)], BY_NAME):
        with pytest.raises(RequestTooLargeError):
            decode({"inputs": tensors}, HOUSE)


def test_deep_json_is_refused():
    for body in (b'{"inputs":' * 5000, b'[{"AREA":' + b"[" * 5000 + b"]" * 5000 + b"}]"):
        with pytest.raises(BadRequestError, match="not valid JSON"):
            application_json.decode(body, HOUSE)


finite = st.floats(width=32, allow_infinity=False, allow_nan=False)
shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=6)


@settings(max_examples=100, deadline=2000)
@given(hnp.arrays(np.float32, shapes, elements=finite), st.randoms(use_true_random=False))
def test_all_shapes_give_the_same_bits(matrix, random):
    names = [f"n{i}" for i in range(matrix.shape[1])]
    schema = Schema(len(names), tuple(names))
    mixed = random.sample(names, len(names))
    columns = {name: matrix[:, names.index(name)].tolist() for name in mixed}
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    records = [dict(zip(mixed, row, strict=True)) for row in rows]
    shape = list(matrix.shape)
    documents = [
        matrix.tolist(),
        records,
        columns,
        {"columns": mixed, "data": rows},
        {"dataframe_records": records},
        {"inputs": [tensor(shape, matrix.ravel().tolist())]},
        {"inputs": [tensor([shape[0]], values, name) for name, values in columns.items()]},
    ]
    for document in documents:
        assert decode(document, schema).tobytes() == matrix.tobytes()
    lines = [mixed, *rows]
    body = "\n".join(";".join(map(str, line)) for line in lines).encode()
    assert text_csv.decode(body, schema).tobytes() == matrix.tobytes()


keys = st.sampled_from(
    ["size", "colour", "features", "inputs", "instances", "columns", "data", "shape", "datatype"]
)
leaves = st.none() | st.booleans() | st.integers(-2, 3) | st.sampled_from(["red", "NA", "FP32"])
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
split = st.fixed_dictionaries({"columns": values, "data": values})
tensors = st.fixed_dictionaries(
    {"shape": values, "datatype": st.just("FP32"), "data": values}, optional={"name": values}
)


@settings(max_examples=400, deadline=2000)
@given(values | split | st.lists(tensors, max_size=2).map(lambda found: {"inputs": found}))
def test_any_document_is_a_matrix_or_refused(document):
    try:
        matrix = decode(document, CAR)
    except (BadRequestError, RequestTooLargeError):
        return
    assert matrix.dtype == np.float32
    assert matrix.shape[1] == 2
    assert not np.isinf(matrix).any()
