"""A request that asks for its number: the first one since the load has found no model loaded."""

from __future__ import annotations

import pytest

from support.models import csv_of, make_rows

BODY = csv_of(make_rows(3, seed=4))
HEADER = "X-Amzn-SageMaker-Custom-Attributes"
KINDS = {
    "plain": "",
    "hooks": "def input_fn(body, content_type):\n    from mme_handler import input_fn as read\n"
    "    return read(body, content_type)\n",
    "service": "def handle(data, context):\n    return ['fine'] if data else None\n",
}


@pytest.fixture(params=KINDS)
def model(request, make_model):
    script = KINDS[request.param]
    return make_model(files={"code/inference.py": script} if script else {})


def ask(server, model, attributes, body=BODY):
    headers = {"Accept": "text/csv", **({} if attributes is None else {HEADER: attributes})}
    return server.invoke(model.name, body, headers=headers)


def test_requests_are_counted_from_the_load(server, model):
    for _ in range(2):
        server.add(model)
        numbers = [ask(server, model, "trace=true").headers[HEADER] for _ in range(3)]
        assert numbers == ["model-request=1", "model-request=2", "model-request=3"]
        server.unload(model.name)


def test_every_request_counts_and_those_that_ask_are_told(server, model):
    server.add(model)
    for attributes in (None, "", "trace=false", "trace", "other=1;traced=true", "trace=1"):
        assert HEADER not in ask(server, model, attributes).headers
    for attributes in ("trace=true", "other=1; trace=true", "TRACE=true;output=score"):
        answer = ask(server, model, attributes)
        assert answer.status_code == 200
    assert answer.headers[HEADER] == "model-request=9"


def test_the_answer_is_the_same(server, model):
    server.add(model)
    assert ask(server, model, "trace=true").content == ask(server, model, None).content


def test_a_refusal_has_a_number_too(server, make_model):
    model = server.add(make_model())
    answer = ask(server, model, "trace=true", b"no,numbers\n")
    assert (answer.status_code, answer.headers[HEADER]) == (400, "model-request=1")


def test_what_the_code_of_a_model_sets_stays(server, make_model):
    script = """
def transform_fn(model, body, content_type, accept, context):
    context.set_response_header(0, "x-amzn-sagemaker-CUSTOM-attributes", "mine")
    return "fine"
"""
    model = server.add(make_model(files={"code/inference.py": script}))
    answer = ask(server, model, "trace=true")
    assert answer.headers.get_list(HEADER) == ["mine"]
