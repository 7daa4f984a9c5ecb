"""What a model's own code may answer with, and what is made of answers that HTTP cannot carry."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mme_handler import answers, errors
from mme_handler.errors import ModelError
from support.models import csv_of, make_rows

BODY = csv_of(make_rows(2, seed=8))


class Context:
    """As much of MMS's context as an answer is made from."""

    def __init__(self, status=200, phrase=None, headers=None):
        self.status, self.phrase, self.headers = status, phrase, headers or {}

    def get_response_status(self, index):
        return self.status, self.phrase

    def get_response_headers(self, index):
        return self.headers


def made(*, said=None, otherwise="text/csv", **told):
    return answers.make("handle", Context(**told), b"x", said, otherwise)


# -- One value at a time -------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 404, 599, None, np.int64(201)])
def test_statuses(status):
    answer = made(status=status)
    assert answer.status == (status or 200)
    assert type(answer.status) is int


@pytest.mark.parametrize(
    "status", [0, -1, 99, 100, 199, 600, 1000, 99999, 1 << 40, "200", 2.5, True]
)
def test_statuses_that_are_none(status):
    with pytest.raises(ModelError, match=f"handle of the model set {status!r}, which is no HTTP s"):
        made(status=status)


@pytest.mark.parametrize("status", [400, 422, 507, 599])
def test_statuses_of_errors(status):
    assert answers.error_status(status) == status


@pytest.mark.parametrize("status", [None, 0, -1, 99, 200, 302, 600, 99999, "422", "x", object()])
def test_statuses_of_errors_that_are_none(status):
    assert answers.error_status(status) == 500


@pytest.mark.parametrize(
    ("status", "phrase", "cleaned"),
    [
        (201, None, "Created"),
        (200, "a\r\n b\x00\x7fc", "a bc"),
        (200, "ä\udcff", "??"),
        (299, "", "OK"),
        (599, "", "Error"),
        (200, 17, "17"),
    ],
)
def test_phrases(status, phrase, cleaned):
    assert made(status=status, phrase=phrase).phrase == cleaned


@pytest.mark.parametrize(
    ("value", "sent"),
    [(" a b\t", "a b"), (3, "3"), ("ä", "ä"), ("€", "\\u20ac"), ("\udcff", "\\udcff"), ("", "")],
)
def test_header_values(value, sent):
    assert made(headers={"X-A": value}).headers == {"X-A": sent}


@pytest.mark.parametrize("value", ["a\r\nX-B: c", "a\nb", "a\rb", "a\0b", "a\x0bb", "a\x7f"])
def test_header_values_that_split_the_answer(value):
    with pytest.raises(ModelError, match=r"handle of the model set 'X-A' to '.*control character"):
        made(headers={"X-A": value})
    with pytest.raises(ModelError, match=r"set 'Content-Type' to '.*control character"):
        made(headers={"Content-Type": value})
    with pytest.raises(ModelError, match=r"set 'content-type' to '.*control character"):
        made(said=value)


@pytest.mark.parametrize("name", ["", "X A:", "X:", "a\r\nX-B: c", "ä", "\udcff", " X"])
def test_header_names_that_are_none(name):
    with pytest.raises(
        ModelError, match=r"handle of the model set a header named .*, which HTTP do"
    ):
        made(headers={name: "1"})


@pytest.mark.parametrize(
    "name", ["Transfer-Encoding", "content-length", "Connection", "Keep-Alive", "TE", "Upgrade"]
)
def test_headers_that_are_the_servers(name):
    assert made(headers={name: "7", "X-A": "1"}).headers == {"X-A": "1"}


def test_headers_without_a_value_are_not_sent():
    assert made(headers={"X-A": None, "content-type": None}) == (200, "OK", "text/csv", b"x", {})


@pytest.mark.parametrize(
    ("said", "set_", "sent"),
    [
        (None, None, "text/csv"),
        (None, "text/a", "text/a"),
        ("text/b", "text/a", "text/b"),
        ("text/ä\udcff", None, "text/ä\\udcff"),
    ],
)
def test_content_types(said, set_, sent):
    answer = made(said=said, headers={"Content-type": set_})
    assert (answer.content_type, answer.headers) == (sent, {})


class MuteError(Exception):
    def __str__(self):
        raise self


def test_texts():
    assert errors.as_text("a\udcff€") == "a\\udcff€"
    assert errors.as_text(None) == "None"
    assert errors.as_text(MuteError()) == "a MuteError that cannot be shown"


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ({"a": [1, float("nan")]}, {"a": [1, None]}),
        ([float("inf"), -float("inf"), (2.5,)], [None, None, [2.5]]),
        ({1: None, "ä": "\udcff"}, {"1": None, "ä": "\udcff"}),
        ([], []),
        ({"x": np.float64("nan")}, {"x": None}),
    ],
)
def test_json(value, read):
    body, content_type = answers.encode(value, "output_fn of the model returned")
    assert content_type == "application/json"
    assert json.loads(body, parse_constant=pytest.fail) == read


def circular():
    value = [float("nan")]
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value", [{"a": {1}}, [np.zeros(2)], circular(), {(1, 2): 3}, "\udcff"], ids=repr
)
def test_what_cannot_be_encoded(value):
    with pytest.raises(ModelError, match=r"output_fn of the model returned .*, which "):
        answers.encode(value, "output_fn of the model returned")


# -- Over a server -------------------------------------------------------------------------------

ASKS = """
from sagemaker_inference.errors import BaseInferenceToolkitError

class Mute(Exception):
    def __str__(self):
        raise self

class Unnamed(BaseInferenceToolkitError):
    @property
    def message(self):
        raise ValueError

    @message.setter
    def message(self, value):
        pass

def circular():
    value = [float("nan")]
    value.append(value)
    return value

def output_fn(prediction, accept, context):
    header = lambda name, value: context.set_response_header(0, name, value)
    status = lambda code: context.set_response_status(code, "", 0)
    kind = lambda value: context.set_response_content_type(0, value)
    statement = bytes.fromhex(context.headers["x-do"]).decode("utf-8", "surrogatepass")
    scope = {**globals(), "header": header, "status": status, "kind": kind, "context": context}
    exec("def run():\\n    " + statement, scope)
    return scope["run"]()
"""


@pytest.fixture
def do(server, make_model):
    """Run a statement in ``output_fn`` of a model; its process must be the same all the time."""
    model = server.add(make_model(files={"code/inference.py": ASKS}))
    pids = server.pids()["isolated"]

    def run(statement):
        told = statement.encode("utf-8", "surrogatepass").hex()
        headers = {"x-do": told, "accept": "text/csv"}
        return server.invoke(model.name, BODY, headers=headers, timeout=10)

    yield run
    assert run("return 'still here'").text == "still here"
    assert server.pids()["isolated"] == pids


def test_json_over_a_server(do):
    answer = do("return {'a': [1, float('nan')]}")
    assert (answer.status_code, answer.json()) == (200, {"a": [1, None]})
    assert answer.headers["content-type"] == "application/json"
    assert do("return [1]").json() == [1]
    assert do("return {'a': 1}, 'application/x-own+json'").headers["content-type"] == (
        "application/x-own+json"
    )


MISTAKES = {
    "return None": "output_fn of the model returned None: return",
    "return None, 'text/csv'": "output_fn of the model returned None: return",
    "return 'x', None": "output_fn of the model returned None as the content type",
    "return 'x', 7": "output_fn of the model returned int as the content type",
    "return 'x', 'text/csv', 200": "output_fn of the model returned a tuple of 3",
    "return 'x', 'text/csv\\r\\nX-B: c'": "control character",
    "return '\\udcff'": "which UTF-8 cannot express",
    "return {'a': {1}}": "which is neither bytes nor text nor JSON",
    "return circular()": "which is neither bytes nor text nor JSON",
    "return 17": "must be bytes or text, not int",
    "raise ValueError('bad file \\udcff')": "ValueError: bad file \\udcff",
    "raise Mute": "",
    "raise Unnamed(422, 'x', 'y')": "",
    "raise BaseInferenceToolkitError(None, 'x', 'y')": "x",
    "raise BaseInferenceToolkitError(200, 'x', 'y')": "x",
    "raise BaseInferenceToolkitError(99, 'x\\udcff', 'y')": "x\\udcff",
    "raise BaseInferenceToolkitError(99999, None, None)": "None",
    "status(99); return 'x'": "set 99, which is no HTTP status",
    "status(100); return 'x'": "set 100, which is no HTTP status",
    "status(1000); return 'x'": "set 1000, which is no HTTP status",
    "status(99999); return 'x'": "set 99999, which is no HTTP status",
    "status(-1); return 'x'": "set -1, which is no HTTP status",
    "status('200'); return 'x'": "set '200', which is no HTTP status",
    "header('X A:', '1'); return 'x'": "set a header named 'X A:'",
    "header('', '1'); return 'x'": "set a header named ''",
    "header('a\\r\\nX-B: c', '1'); return 'x'": "set a header named 'a\\r\\nX-B: c'",
    "header('X-A', 'a\\r\\nX-B: c'); return 'x'": "control character",
    "kind('text/csv\\r\\nX-B: c'); return 'x'": "control character",
    "context.request_processor = None; return 'x'": "TypeError",
}


def test_mistakes_of_the_code_are_told_and_end_nothing(server, do):
    for statement, reason in MISTAKES.items():
        answer = do(statement)
        assert answer.status_code == 500, (statement, answer.text)
        document = answer.json()
        assert reason in document["message"], statement
        assert "x-b" not in answer.headers
        request_id = answer.headers["x-request-id"]
        line = server.wait_log(event="invocation failed", request_id=request_id)
        assert line["status"] == 500


def test_what_is_made_fit_for_http(do):
    answer = do("header('X-A', '\\udcff€ä'); header('Content-Length', '7'); return 'long enough'")
    assert answer.text == "long enough"
    assert answer.headers["x-a"].encode("latin-1") == b"\\udcff\\u20ac\xe4"
    answer = do("header('Transfer-Encoding', 'chunked'); header('Connection', 'close'); return 'x'")
    assert (answer.status_code, answer.text) == (200, "x")
    assert "transfer-encoding" not in answer.headers
    answer = do("context.set_response_status(429, 'slow\\r\\nX-B: c \\udcff', 0); return 'x'")
    assert (answer.status_code, answer.reason_phrase, answer.text) == (429, "slow X-B: c ?", "x")
    assert "x-b" not in answer.headers


def test_a_huge_message_is_cut(do):
    answer = do("raise ValueError('x' * 50_000_000)")
    assert answer.status_code == 500
    assert answer.json()["message"].startswith("output_fn of the model failed: ValueError: xxx")
    assert len(answer.content) < 100_000


@pytest.mark.parametrize("status", [204, 205, 304, 302, 299, 599])
def test_odd_statuses_do_not_hang(do, status):
    assert do(f"status({status}); return 'x'").status_code == status


SERVICE = """
import json

def handle(data, context):
    if data is None:
        return None
    for name, value in json.loads(bytes(data[0]["body"])).items():
        context.set_response_header(0, name, value)
    return ["x"]
"""


def test_headers_of_a_service(server, make_model):
    model = server.add(make_model("none", files={"code/inference.py": SERVICE}))
    pids = server.pids()["isolated"]

    def ask(**headers):
        return server.invoke(model.name, json.dumps(headers), "application/json", timeout=10)

    assert ask(**{"X-A": "\udcff"}).headers["x-a"] == "\\udcff"
    answer = ask(**{"X-A": "a\r\nX-B: c"})
    assert (answer.status_code, "x-b" in answer.headers) == (500, False)
    assert "handle of the model set 'X-A' to" in answer.json()["message"]
    assert ask(**{"Content-Type": "text/x-own"}).headers["content-type"] == "text/x-own"
    assert server.pids()["isolated"] == pids


LOADS = {
    "raise BaseInferenceToolkitError(None, 'no \\udcff', 'y')": "no \\udcff",
    "raise BaseInferenceToolkitError(200, None, 'y')": "None",
}


@pytest.mark.parametrize("statement", LOADS)
def test_a_load_fails_with_whatever_was_raised(server, make_model, statement):
    script = (
        "from sagemaker_inference.errors import BaseInferenceToolkitError\n\n"
        f"def model_fn(model_dir):\n    {statement}\n"
    )
    model = make_model(files={"code/inference.py": script})
    assert server.load(model.name, model.path)[0] == 500
    line = server.wait_log(event="load failed", model=model.name)
    assert line["reason"] == LOADS[statement]
