"""What docs/handler.md says of the code that a model brings, over HTTP."""

from __future__ import annotations

import numpy as np
import pytest
import xgboost as xgb

from support.contract import ATTRIBUTES, CSV, JSON, NPY, ROWS, ask, raw, refusal, scores
from support.models import json_of

# -- Hooks -------------------------------------------------------------------------------------

KINDS = """
def input_fn(body, content_type):
    return type(body).__name__

def predict_fn(data, model):
    return data

def output_fn(prediction, accept):
    return f"{prediction} {accept}"
"""


def test_hooks_get_text_as_str_and_the_rest_as_bytes(server, make_model):
    model = server.add(make_model(files={"code/inference.py": KINDS}))
    for kind in (CSV, JSON, "text/csv; charset=utf-8"):
        assert ask(server, model, b"1", kind).text == "str text/csv", kind
    for kind in (NPY, "application/jsonlines", "image/png"):
        assert ask(server, model, b"1", kind).text == "bytes text/csv", kind
    assert ask(server, model, b"1", accept="*/*").text == "str application/json"
    answer = ask(server, model, b"\xff", CSV)
    assert answer.status_code == 400
    assert answer.json()["message"] == "the body is not valid UTF-8"


WRAPPERS = """
import mme_handler
from mme_handler import input_fn as read, model_fn as load, output_fn as write
from mme_handler import predict_fn as predict

def model_fn(model_dir):
    return load(model_dir)

def input_fn(body, content_type):
    data = read(body, content_type)
    data[:, 0] *= 2
    return data

def predict_fn(data, model):
    return predict(data, model) + 1

def output_fn(prediction, accept):
    return write(prediction, accept)
"""


def test_the_defaults_may_be_wrapped(server, make_model):
    model = server.add(make_model(files={"code/inference.py": WRAPPERS}))
    rows = ROWS.copy()
    rows[:, 0] *= 2
    expected = model.predict(rows) + np.float32(1)
    assert np.array_equal(scores(ask(server, model)), expected)
    assert np.array_equal(scores(ask(server, model, json_of(ROWS), JSON)), expected)


ORDER = """
from mme_handler import model_fn as load

calls = []

def pre_model_fn(model_dir):
    calls.append("pre_model_fn")

def model_fn(model_dir):
    calls.append("model_fn")
    return load(model_dir)

def model_warmup_fn(model_dir, model):
    calls.append("model_warmup_fn " + type(model).__name__)

def input_fn(body, content_type):
    calls.append("input_fn")

def predict_fn(data, model):
    calls.append("predict_fn")

def output_fn(prediction, accept):
    calls.append("output_fn")
    return ",".join(calls)
"""


def test_when_hooks_are_called(server, make_model):
    model = server.add(make_model(files={"code/inference.py": ORDER}))
    loading = "pre_model_fn,model_fn,model_warmup_fn Booster"
    request = ",input_fn,predict_fn,output_fn"
    assert ask(server, model).text == loading + request
    assert ask(server, model).text == loading + request + request


CONTEXT = """
import io
import json

def transform_fn(model, body, content_type, accept, context):
    return json.dumps([
        context.model_name,
        context.model_dir,
        context.system_properties["model_dir"],
        context.headers["x-custom"],
        context.get_request_header(0, "X-Custom"),
        context.get_all_request_header(0).items() >= context.headers.items(),
        context.request_id == context.get_request_id(),
        context.request_id,
    ])
"""


def test_what_the_context_holds(server, make_model):
    model = server.add(make_model(files={"code/inference.py": CONTEXT}))
    answer = ask(server, model, **{"X-Custom": "7"})
    directory = str(model.path)
    assert answer.json() == [
        *(model.name, directory, directory, "7", "7", True, True),
        answer.headers["x-request-id"],
    ]


def test_outputs_reach_the_default_output_fn_alone(server, make_model):
    read = "from mme_handler import input_fn as read\ndef input_fn(b, t): return read(b, t)\n"
    model = server.add(make_model(files={"code/inference.py": read}))
    headers = {ATTRIBUTES: "output=margin", "accept": JSON}
    assert list(ask(server, model, **headers).json()["predictions"][0]) == ["margin"]
    own = "def output_fn(prediction, accept): return str(prediction.shape)\n"
    model = server.add(make_model(files={"code/inference.py": own}))
    assert ask(server, model, **headers).text == f"({len(ROWS)},)"


def test_model_fn_may_return_several_boosters(server, make_model):
    script = """
import xgboost as xgb

def model_fn(model_dir):
    return [xgb.Booster(model_file=f"{model_dir}/parts/{name}.ubj") for name in "ab"]
"""
    boosters = [make_model.booster(seed) for seed in (0, 1)]
    files = {f"parts/{name}.ubj": raw(b) for name, b in zip("ab", boosters, strict=True)}
    model = make_model("none", files={"code/inference.py": script, **files})
    server.add(model)
    parts = [booster.predict(xgb.DMatrix(ROWS)) for booster in boosters]
    assert np.array_equal(scores(ask(server, model)), np.mean(parts, axis=0))


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("def input_fn(body): pass", "input_fn of the model is defined with (body), but is called"),
        ("predict_fn = 7", "predict_fn of the model must be a function"),
        ("import nowhere_at_all", "put it into code/lib/, or list it in code/requirements.txt"),
        ("def model_fn(d): return 1 / 0", "model_fn of the model failed: ZeroDivisionError"),
        (
            "class A:\n    def handle(self, d, c): pass\nclass B(object):\n"
            "    def handle(self, d, c): pass\n",
            "inference.py defines several services, A and B: keep one",
        ),
    ],
)
def test_code_that_is_refused(server, make_model, script, reason):
    assert reason in refusal(server, make_model(files={"code/inference.py": script}))


def test_requirements_that_are_not_met(server, make_model):
    files = {"code/inference.py": "", "code/requirements.txt": "nowhere-at-all>=2\nnumpy\n"}
    reason = refusal(server, make_model(files=files))
    assert "asks for what is not there: nowhere-at-all>=2 (not installed)" in reason
    assert "MME_INSTALL_REQUIREMENTS=true" in reason
    met = {"code/inference.py": "import numpy", "code/requirements.txt": "numpy>=1\nxgboost\n"}
    server.add(make_model(files=met))


# -- Services ----------------------------------------------------------------------------------

FUNCTION = """
def handle(data, context):
    if data is None:
        return None
    body = data[0]["body"]
    if body == b"bad":
        context.set_response_status(422, "Not so", 0)
        return ["sorry"]
    context.set_response_content_type(0, "text/x-own")
    context.set_response_header(0, "X-Own", "7")
    return [type(body).__name__ + " " + context.get_request_header(0, "X-Custom")]
"""
CLASS = """
class Service:
    def initialize(self, context):
        self.directory = context.system_properties["model_dir"]

    def handle(self, data, context):
        return [{"directory": self.directory}]
"""
TOOLKIT = """
from sagemaker_inference.default_handler_service import DefaultHandlerService

class HandlerService(DefaultHandlerService):
    pass

def model_fn(model_dir):
    return 3

def predict_fn(data, model):
    return data * model
"""


def test_a_service_that_is_a_function(server, make_model):
    model = server.add(make_model("none", files={"code/inference.py": FUNCTION}))
    answer = ask(server, model, b"x", **{"X-Custom": "7"})
    assert answer.text == "bytearray 7"
    assert answer.headers["content-type"] == "text/x-own"
    assert answer.headers["x-own"] == "7"
    answer = ask(server, model, b"bad")
    assert (answer.status_code, answer.text) == (422, "sorry")


def test_a_service_that_is_a_class(server, make_model):
    model = server.add(make_model("none", files={"code/inference.py": CLASS}))
    answer = ask(server, model)
    assert answer.json() == {"directory": str(model.path)}
    assert answer.headers["content-type"] == JSON


def test_a_service_of_sagemaker_inference(server, make_model):
    model = server.add(make_model("none", files={"code/inference.py": TOOLKIT}))
    answer = ask(server, model, b"[1, 2]", JSON, accept=JSON)
    assert answer.json() == [3, 6]
