"""The context that hooks get, which is MMS's own, and what they set in it."""

from __future__ import annotations

import pytest

from support.models import csv_of, make_rows

BODY = csv_of(make_rows(2, seed=8))


@pytest.fixture
def add(server, make_model):
    """Load a model with this ``inference.py``."""
    return lambda script, **files: server.add(
        make_model(files={"code/inference.py": script, **files})
    )


EVERYTHING = """
import json

loading = []

def use(context, value):
    context.mine = value
    context.set_response_content_type(0, "text/plain")
    context.set_response_header(0, "X-Version", "3")
    context.set_response_header(0, "X-Count", 4)
    context.set_response_status(code=201, phrase="Created", idx=0)
    context.metrics.add_counter("n", 1)
    context.metrics.add_time("t", 1.5, idx=0)
    return [
        context.model_name,
        context.model_dir == context.system_properties["model_dir"],
        context.system_properties["server_name"],
        context.manifest,
        context.mine,
        context.get_request_header(0, "Accept"),
        context.get_request_header(0, "X-CUSTOM"),
        context.get_all_request_header(0).get("X-Custom"),
        context.request_processor[0].get_request_properties().get("x-custom"),
        context.request_processor[0].get_request_property("X-custom"),
        context.headers.get("x-custom"),
        context.request_id == context.get_request_id(0) == context.get_request_id(),
    ]

def model_fn(model_dir, context):
    loading.append(use(context, 1))
"""
HOOKS = {
    "transform_fn": """
def transform_fn(model, body, content_type, accept, context):
    return json.dumps([*loading, use(context, 2), type(context.headers).__name__])
""",
    "all three": """
def input_fn(body, content_type, context):
    return use(context, 2)

def predict_fn(data, model, context):
    return [data, use(context, 2)]

def output_fn(prediction, accept, *, context):
    assert prediction == [use(context, 2)] * 2
    return json.dumps([*loading, prediction[0], type(context.headers).__name__])
""",
}


@pytest.mark.parametrize("hooks", HOOKS.values(), ids=HOOKS)
def test_hooks_may_use_the_context_as_under_stock(server, add, hooks):
    manifest = '{"model": {"modelName": "houses"}}'
    model = add(EVERYTHING + hooks, **{"MAR-INF/MANIFEST.json": manifest})
    sent = {"Accept": "text/x-asked", "X-Custom": "7"}
    answer = server.invoke(model.name, BODY, headers=sent)
    assert answer.status_code == 201, answer.text
    assert answer.reason_phrase == "Created"
    assert answer.headers["content-type"] == "text/plain"
    assert (answer.headers["x-version"], answer.headers["x-count"]) == ("3", "4")
    about = [model.name, True, "MMS", {"model": {"modelName": "houses"}}]
    on_load = [*about, 1, None, None, None, None, None, None, True]
    on_request = [*about, 2, "text/x-asked", "7", "7", "7", "7", "7", True]
    assert answer.json() == [on_load, on_request, "dict"]


def test_what_a_request_has_set_is_not_set_for_the_next(server, add):
    model = add("""
def transform_fn(model, body, content_type, accept, context):
    if body == "1":
        context.set_response_status(422, "Not so", 0)
        context.set_response_header(0, "X-Version", "3")
        context.set_response_content_type(0, "text/plain")
    return "fine"
""")
    first = server.invoke(model.name, b"1", headers={"accept": "text/csv"})
    assert (first.status_code, first.reason_phrase, first.text) == (422, "Not so", "fine")
    second = server.invoke(model.name, b"2", headers={"accept": "text/csv"})
    assert (second.status_code, second.reason_phrase, second.text) == (200, "OK", "fine")
    assert second.headers["content-type"] == "text/csv"
    assert "x-version" not in second.headers


@pytest.mark.parametrize(
    ("returned", "text", "content_type"),
    [
        ("'text'", "text", "text/x-set"),
        ("('text', 'text/x-own')", "text", "text/x-own"),
        ("{'a': 1}", '{\n  "a": 1\n}', "text/x-set"),
    ],
)
def test_which_content_type_counts(server, add, returned, text, content_type):
    model = add(f"""
def transform_fn(model, body, t, accept, context):
    context.set_response_header(0, "Content-Type", "text/x-set")
    return {returned}
""")
    answer = server.invoke(model.name, BODY, headers={"accept": "text/x-asked"})
    assert (answer.text, answer.headers["content-type"]) == (text, content_type)


def test_what_is_set_beside_the_default_hooks(server, add):
    model = add("""
from mme_handler import input_fn as read

def input_fn(body, content_type, context):
    context.set_response_header(0, "X-Rows", body.count("\\n"))
    return read(body, content_type)
""")
    answer = server.invoke(model.name, BODY, headers={"accept": "text/csv"})
    assert (answer.status_code, answer.headers["x-rows"]) == (200, "2")
    assert answer.headers["content-type"] == "text/csv"
