"""What is wrong with a request is said to the client, and harms nothing."""

from __future__ import annotations

import re

import numpy as np
import pytest

from support.models import csv_of, make_rows

CSV, JSON = "text/csv", "application/json"
GOOD = b"120,4,30,5.5,48.1,11.6\n"
WRONG = [
    # body, content type, status, what the message says
    (b"", CSV, 400, "the body is empty; send at least one row"),
    (b"", JSON, 400, "the body is empty; send at least one row"),
    (b"  \r\n\n", CSV, 400, "the body is empty"),
    (b"  \n", JSON, 400, "not valid JSON: input data is empty"),
    (b"1,2,3,4,5", CSV, 400, "line 1: got 5 values, the model takes 6"),
    (b"1,2,3,4,5,6,7", CSV, 400, "line 1: got 7 values, the model takes 6"),
    (b"1", CSV, 400, "line 1: got 1 value, the model takes 6"),
    (GOOD * 2 + b"1,2\n" + GOOD, CSV, 400, "line 3: got 2 values, the model takes 6"),
    (GOOD + b"\n" + GOOD, CSV, 400, "line 2 is blank"),
    (GOOD + b"1,2,three,4,5,6", CSV, 400, 'line 2, column 3: "three" is not a number'),
    (GOOD * 9 + b"1,2,3,4,5,0x10", CSV, 400, 'line 10, column 6: "0x10" is not a number'),
    (b"1,2,3,4,5,1_000", CSV, 400, 'line 1, column 6: "1_000" is not a number'),
    (b"1,inf,3,4,5,6", CSV, 400, 'line 1, column 2: "inf" is infinite or too large'),
    (b"1,-1e39,3,4,5,6", CSV, 400, 'line 1, column 2: "-1e39" is infinite or too large'),
    (b"1,2,3,4,5,6\n1,2,\xff,4,5,6", CSV, 400, "line 2: the body is not valid UTF-8"),
    (b"area,rooms,age,distance,lat,lon\n", CSV, 400, "the body has no rows"),
    (b'{"instances": [[1,2,3,4,5,6]]}', CSV, 400, "line 1"),
    (b"\x93NUMPY\x01\x00v\x00{'descr'", CSV, 400, "line 1"),
    (b"\x00" * 100, CSV, 400, "line 1"),
    (GOOD * 20_000 + b"1,2,x,4,5,6\n", CSV, 400, 'line 20001, column 3: "x" is not a number'),
    (b"{", JSON, 400, "the body is not valid JSON: .* at line 1, column 2"),
    (b'{"instances": [[1,2,3,\n4,,5,6]]}', JSON, 400, "not valid JSON: .* at line 2, column 3"),
    (b"[[1,2,3,4,5,NaN]]", JSON, 400, "not valid JSON.*write a missing value as null"),
    (GOOD, JSON, 400, "not valid JSON"),
    (b"\xff\xfe{}", JSON, 400, "not valid JSON"),
    (b"{}", JSON, 400, 'the object has no "instances" or "features"'),
    (b'{"data": [[1,2,3,4,5,6]]}', JSON, 400, 'the object has no "instances" or "features"'),
    (b"17", JSON, 400, "expected a list of rows, got 17"),
    (b'"text"', JSON, 400, 'expected a list of rows, got "text"'),
    (b"null", JSON, 400, "expected a list of rows, got null"),
    (b'{"instances": {"a": 1}}', JSON, 400, "expected a list of rows, got an object"),
    (b"[]", JSON, 400, "the body has no rows"),
    (b'{"instances": []}', JSON, 400, "the body has no rows"),
    (b"[1,2,3]", JSON, 400, "row 1: got 3 values, the model takes 6"),
    (b"[[1,2,3,4,5,6],[1,2]]", JSON, 400, "row 2: got 2 values, the model takes 6"),
    (b'[[1,2,3,4,5,6],[1,2,3,"x",5,6]]', JSON, 400, 'row 2, column 4: "x" is not a number'),
    (b"[[1,2,true,4,5,6]]", JSON, 400, "row 1, column 3: true is not a number"),
    (b"[[1,2,[3],4,5,6]]", JSON, 400, "row 1, column 3: a list is not a number"),
    (b"[[1,2,3,4,5,1e39]]", JSON, 400, "row 1, column 6: .* is infinite or too large"),
    (b"[[1,2,3,4,5,6], 7]", JSON, 400, "row 2: expected a list of numbers, got 7"),
    (b'{"instances": [{"x": [1]}]}', JSON, 400, 'row 1: the object has no "features"'),
    (b"[" * 2000 + b"]" * 2000, JSON, 400, "not valid JSON|expected"),
    (GOOD, "application/x-parquet", 400, "the body is not a valid Parquet file"),
    (GOOD, "application/vnd.apache.arrow.stream", 400, "the body is not"),
    (GOOD, "application/x-npy", 400, "the body is not"),
    (GOOD, "application/x-npz", 400, "the body is not"),
    (GOOD, "application/x-recordio-protobuf", 400, "record 1"),
    (GOOD, "application/jsonlines", 400, "line 1"),
    (GOOD, "text/libsvm", 400, "line 1, label: .* is not a number"),
    (b"1 0:5 6:1\n", "text/libsvm", 400, "line 1.*libsvm_index_base"),
    (GOOD, "application/octet-stream", 415, "application/octet-stream.*application/json"),
    (GOOD, "nonsense", 415, "nonsense.*text/csv"),
]


def assert_explained(answer, status, pattern=""):
    """The answer has this status and says why, to a person and without the server's insides."""
    assert answer.status_code == status, answer.text
    document = answer.json()
    assert document["code"] == status
    assert document["type"]
    assert_no_insides(answer.text)
    assert re.search(pattern, document["message"], re.DOTALL), document["message"]
    assert len(document["message"]) < 500


def assert_no_insides(text):
    for sign in ("Traceback", ".py", 'File "', "\tat ", "/tmp/"):
        assert sign not in text


@pytest.fixture(scope="module")
def model(shared_server, make_model):
    model = make_model()
    yield model
    shared_server.unload(model.name)


@pytest.fixture
def loaded(shared_server, model):
    """The server with the model loaded: the same one for all the bodies of the table."""
    if shared_server.get(model.name).status_code == 404:
        shared_server.add(model)
    return shared_server


def assert_still_answers(server, model):
    rows = make_rows(3, seed=9)
    answer = server.invoke(model.name, csv_of(rows), headers={"accept": "text/csv"})
    scores = np.array([np.float32(line) for line in answer.text.splitlines()], np.float32)
    assert np.array_equal(scores, model.predict(rows))


@pytest.mark.parametrize(
    ("body", "content_type", "status", "pattern"),
    WRONG,
    ids=[f"{number}-{body[:24]!r}-{kind}" for number, (body, kind, *_) in enumerate(WRONG)],
)
def test_a_wrong_body_is_explained(loaded, model, body, content_type, status, pattern):
    answer = loaded.invoke(model.name, body, content_type)
    assert_explained(answer, status, pattern)
    assert_still_answers(loaded, model)


@pytest.mark.parametrize("accept", ["image/png", "text/html, image/*", "application/json;q=0"])
def test_an_answer_that_cannot_be_written_is_explained(loaded, model, accept):
    answer = loaded.invoke(model.name, GOOD, headers={"accept": accept})
    assert_explained(answer, 406, "accept one of: application/json, .*text/csv")
    assert_still_answers(loaded, model)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"a=1&b=2", "application/x-www-form-urlencoded"),
        (b"--x\r\nnonsense", "multipart/form-data; boundary=x"),
        (
            b'--x\r\nContent-Disposition: form-data; name="body"\r\n\r\n1,2\r\n--x--\r\n',
            "multipart/form-data; boundary=x",
        ),
    ],
)
def test_forms_are_refused(loaded, model, body, content_type):
    answer = loaded.invoke(model.name, body, content_type)
    assert 400 <= answer.status_code < 500, answer.text
    assert_no_insides(answer.text)
    assert_still_answers(loaded, model)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/models", b"{}", 400),
        ("POST", "/models", b'{"model_name": "x"}', 400),
        ("POST", "/models", b'{"url": ""}', 400),
        ("POST", "/models", b'{"model_name": "x", "url": "relative/../../etc"}', 404),
        ("PUT", "/models", b"", 405),
        ("GET", "/models/a/b/c", b"", 404),
        ("GET", "/nonsense", b"", 404),
    ],
)
def test_a_wrong_call_is_refused(loaded, model, method, path, body, status):
    headers = {"content-type": "application/json"}
    answer = loaded.client.request(method, path, content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert_no_insides(answer.text)
    assert_still_answers(loaded, model)
