"""Services written for MMS or sagemaker-inference, unchanged."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest
from sagemaker_inference.errors import BaseInferenceToolkitError

from mme_handler.errors import ModelError, ModelLoadError, OutOfMemoryError
from mme_handler.mms_service import find_service
from mme_handler.user_code import import_script

CSV = "text/csv"


@pytest.fixture
def service(tmp_path, monkeypatch):
    """Write an inference.py, and return its service, which is still to be loaded."""
    (tmp_path / "code").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    monkeypatch.setenv("PYTHONPATH", "")
    for name in ("SAGEMAKER_PROGRAM", "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT"):
        monkeypatch.delenv(name, raising=False)

    def make(code):
        file = tmp_path / "code" / "inference.py"
        file.write_text(textwrap.dedent(code))
        return find_service(import_script(file))

    yield make
    sys.modules.pop("inference", None)


@pytest.fixture
def load(service, tmp_path):
    """The same, loaded."""

    def make(code):
        found = service(code)
        found.load("m1", tmp_path)
        return found

    return make


def ask(service, body=b"1,2", content_type=CSV, accept="text/csv", **headers):
    return service.answer("r1", body, content_type, accept, headers)


# -- As sagemaker-inference documents them -------------------------------------------------------

HANDLER_SERVICE = """
from sagemaker_inference.default_handler_service import DefaultHandlerService

class HandlerService(DefaultHandlerService):
    pass
"""

PLAIN_FUNCTIONS = (
    HANDLER_SERVICE
    + """
import json
import os

def model_fn(model_dir):
    with open(os.path.join(model_dir, "weights.json")) as file:
        return json.load(file)

def input_fn(input_data, content_type):
    if content_type == "text/csv":
        return [float(cell) for cell in input_data.split(",")]
    raise ValueError("unsupported " + content_type)

def predict_fn(data, model):
    return [cell * model["weight"] for cell in data]

def output_fn(prediction, accept):
    return json.dumps(prediction), "application/json"
"""
)

CONTEXT_AND_TRANSFORM = (
    HANDLER_SERVICE
    + """
def model_fn(model_dir, context):
    return context.system_properties["server_name"]

def transform_fn(model, input_data, content_type, accept, context):
    custom = context.get_request_header(0, "X-Amzn-SageMaker-Custom-Attributes")
    return f"{model} {type(input_data).__name__} {content_type} {accept} {custom}"
"""
)

OWN_INFERENCE_HANDLER = """
import numpy as np
from sagemaker_inference import content_types, decoder, default_inference_handler, encoder, errors
from sagemaker_inference.default_handler_service import DefaultHandlerService
from sagemaker_inference.transformer import Transformer

class Doubles(default_inference_handler.DefaultInferenceHandler):
    def default_model_fn(self, model_dir):
        return 2

    def default_predict_fn(self, data, model):
        return np.asarray(data) * model

class HandlerService(DefaultHandlerService):
    def __init__(self):
        super().__init__(transformer=Transformer(default_inference_handler=Doubles()))
"""


def test_plain_functions(load, tmp_path):
    (tmp_path / "weights.json").write_text('{"weight": 3}')
    answer = ask(load(PLAIN_FUNCTIONS))
    assert answer == (200, "OK", "application/json", b"[3.0, 6.0]", {})


def test_context_and_transform_fn(load):
    service = load(CONTEXT_AND_TRANSFORM)
    answer = ask(service, **{"x-amzn-sagemaker-custom-attributes": "trace=1"})
    assert (answer.content_type, answer.body) == (CSV, b"MMS str text/csv text/csv trace=1")
    other = ask(service, content_type="application/x-own", accept=None)
    assert other.content_type == "application/json"
    assert other.body == b"MMS bytearray application/x-own application/json None"


def test_an_inference_handler_of_its_own(load):
    service = load(OWN_INFERENCE_HANDLER)
    assert ask(service) == (200, "OK", CSV, b"2\n4\n", {})
    answer = ask(service, b"[1, 2]", "application/json", "application/json")
    assert answer.content_type == "application/json"
    assert json.loads(answer.body) == [2, 4]


def test_in_a_process_of_its_own(tmp_path):
    """Entered as an isolated worker does, with modules beside the script and below lib."""
    (tmp_path / "code" / "lib").mkdir(parents=True)
    (tmp_path / "code" / "lib" / "vendored.py").write_text("FACTOR = 10\n")
    (tmp_path / "code" / "beside.py").write_text("from vendored import FACTOR\n")
    (tmp_path / "code" / "inference.py").write_text(
        "import beside\n" + OWN_INFERENCE_HANDLER.replace("return 2", "return beside.FACTOR")
    )
    code = f"""
from pathlib import Path
from mme_handler.mms_service import find_service
from mme_handler.user_code import import_script
from mme_handler.workers.isolated import _enter

directory = Path({str(tmp_path)!r})
_enter(directory, 300 << 20, None)
service = find_service(import_script(directory / "code" / "inference.py"))
service.load("m1", directory)
print(service.answer("r1", b"1,2", "text/csv", "text/csv", {{}}).body)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    assert done.stdout == "b'10\\n20\\n'\n", done.stderr


def test_what_a_handler_service_fails_with(load, tmp_path):
    """Its own status and message go to the client; its traceback does not."""
    (tmp_path / "weights.json").write_text("{}")
    service = load(PLAIN_FUNCTIONS)
    with pytest.raises(ModelError) as caught:
        ask(service, content_type="text/x-own")
    assert (caught.value.status_code, str(caught.value)) == (500, "unsupported text/x-own")
    assert 'inference.py", line' in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("statement", "status", "text"),
    [
        ("raise errors.BaseInferenceToolkitError(422, 'no such region', 'p')", 422, "no such reg"),
        ("raise MemoryError", 507, "HandlerService of the model ran out of memory"),
        ("np.empty(1 << 45)", 507, "HandlerService of the model ran out of memory"),
        ("raise ValueError('out of memory: not')", 507, "ran out of memory"),
        ("raise ValueError('odd')  # out of memory", 500, "odd"),
        ("raise errors.BaseInferenceToolkitError(None, 'odd', 'p')", 500, "^odd$"),
        ("raise errors.BaseInferenceToolkitError(200, 'odd', 'p')", 500, "^odd$"),
        ("raise errors.BaseInferenceToolkitError(99999, 'odd', 'p')", 500, "^odd$"),
    ],
)
def test_statuses_of_a_handler_service(load, statement, status, text):
    code = OWN_INFERENCE_HANDLER.replace("return np.asarray(data) * model", statement)
    with pytest.raises(BaseInferenceToolkitError, match=text) as caught:
        ask(load(code))
    assert caught.value.status_code == status


def test_a_handler_service_that_cannot_load(service, tmp_path):
    found = service(HANDLER_SERVICE)
    with pytest.raises(ModelLoadError, match="HandlerService of the model failed to load: NotImpl"):
        found.load("m1", tmp_path)


# -- As MMS documents them -----------------------------------------------------------------------


def test_a_function(load, tmp_path):
    service = load("""
        seen = []

        def handle(data, context):
            if data is None:
                seen.append(context.system_properties["model_dir"])
                return
            context.set_response_content_type(0, "text/x-own")
            context.set_response_header(0, "x-more", "1")
            context.metrics.add_counter("requests", 1)
            return [" ".join([
                *seen, context.model_name, context.get_request_id(), str(context.manifest),
                type(data[0]["body"]).__name__, data[0].get("body").decode(),
                context.request_processor[0].get_request_property("Content-Type"),
                context.get_all_request_header(0)["body"]["content-type"],
                str(sorted(context.get_all_request_header(0))), str("ACCEPT" in
                context.get_all_request_header(0)),
            ])]
    """)
    answer = ask(service)
    assert answer.content_type == "text/x-own"
    assert answer.headers == {"x-more": "1"}
    words = f"{tmp_path} m1 r1 None bytearray 1,2 text/csv text/csv "
    assert answer.body.decode() == words + "['accept', 'body', 'content-type'] True"


def test_a_class(load, tmp_path):
    (tmp_path / "MAR-INF").mkdir()
    (tmp_path / "MAR-INF" / "MANIFEST.json").write_text('{"model": {"modelName": "houses"}}')
    service = load("""
        import abc
        from collections import OrderedDict

        class Base(abc.ABC):
            def initialize(self, context):
                self.name = context.manifest["model"]["modelName"]

            @abc.abstractmethod
            def work(self, body): ...

            def handle(self, data, context):
                return [self.work(each["body"]) for each in data]

        class Houses(Base):
            def work(self, body):
                return {"name": self.name, "size": len(body)}

        class Helper: ...

        alias = Houses
    """)
    answer = ask(service)
    assert answer.content_type == "application/json"
    assert json.loads(answer.body) == {"name": "houses", "size": 3}


def test_a_class_without_initialize(load):
    answer = ask(load("class S:\n    def handle(self, data, context): return ['fine']\n"))
    assert answer == (200, "OK", "", b"fine", {})


@pytest.mark.parametrize(
    ("returned", "body", "content_type"),
    [
        ("[b'bytes']", b"bytes", ""),
        ("[bytearray(b'array')]", b"array", ""),
        ("['äöü']", "äöü".encode(), ""),
        ("[[1, 2]]", b"[\n  1,\n  2\n]", "application/json"),
        ("[None]", b"null", "application/json"),
        ("[[1.5, float('nan')]]", b"[\n  1.5,\n  null\n]", "application/json"),
    ],
)
def test_what_it_may_return(load, returned, body, content_type):
    answer = ask(load(f"def handle(data, context): return {returned}\n"))
    assert (answer.body, answer.content_type) == (body, content_type)


@pytest.mark.parametrize(
    ("returned", "found"),
    [
        ("None", "must return a list with one element for the one request, not None"),
        ("'text'", "for the one request, not str"),
        ("[]", "not 0 elements"),
        ("[1, 2]", "not 2 elements"),
        ("[{1, 2}]", "returned a list with set, which is neither bytes nor text nor JSON"),
    ],
)
def test_what_it_may_not_return(load, returned, found):
    with pytest.raises(ModelError, match=found):
        ask(load(f"def handle(data, context): return {returned}\n"))


def test_a_status_of_its_own(load):
    service = load("""
        def handle(data, context):
            if data:
                code, phrase = data[0]["body"].decode().split(",")
                context.set_response_status(int(code), phrase, 0)
                return ["sorry"]
    """)
    assert ask(service, b"429,slow\r\n down")[:2] == (429, "slow down")
    assert ask(service, b"404,")[:2] == (404, "Not Found")
    assert ask(service, b"599,")[:2] == (599, "Error")
    assert len(ask(service, b"500," + b"x" * 5000).phrase) == 200
    assert ask(service, b"500,x").body == b"sorry"
    with pytest.raises(ModelError, match="handle of the model set 0, which is no HTTP status"):
        ask(service, b"0,")


@pytest.mark.parametrize(
    ("statement", "kind", "status", "text"),
    [
        ("raise ValueError('odd')", ModelError, 500, "handle of the model failed: ValueError: odd"),
        ("raise MemoryError", OutOfMemoryError, 507, "handle of the model ran out of memory"),
        ("raise PredictionException('no rows', 400)", ModelError, 400, "no rows"),
        ("raise PredictionException('no rows')", ModelError, 500, "no rows"),
        ("raise PredictionException('no rows', 7)", ModelError, 500, "no rows"),
        ("raise PredictionException('no rows', None)", ModelError, 500, "no rows"),
        ("raise BaseInferenceToolkitError(422, 'no', 'p')", Exception, 422, "no"),
    ],
)
def test_what_it_raises(load, statement, kind, status, text):
    service = load(
        "from mms.service import PredictionException\n"
        "from sagemaker_inference.errors import BaseInferenceToolkitError\n\n"
        f"def handle(data, context):\n    if data:\n        {statement}\n"
    )
    with pytest.raises(kind) as caught:
        ask(service)
    assert (caught.value.status_code, caught.value.message) == (status, text)


@pytest.mark.parametrize(
    ("code", "kind", "text"),
    [
        ("def handle(data, context): raise ValueError('odd')", ModelLoadError, "handle of the mo"),
        ("def handle(data, context): raise MemoryError", OutOfMemoryError, "ran out of memory"),
        (
            "class S:\n    def __init__(self, name): pass\n    def handle(self, d, c): pass",
            ModelLoadError,
            "S of the model failed to load: TypeError: ",
        ),
        (
            "class S:\n    def initialize(self, c): 1 / 0\n    def handle(self, d, c): pass",
            ModelLoadError,
            "S of the model failed to load: ZeroDivisionError: ",
        ),
    ],
)
def test_a_load_that_fails(service, tmp_path, code, kind, text):
    found = service(code)
    with pytest.raises(kind, match=text):
        found.load("m1", tmp_path)


def test_a_manifest_that_cannot_be_read(service, tmp_path):
    (tmp_path / "MAR-INF").mkdir()
    (tmp_path / "MAR-INF" / "MANIFEST.json").write_text("{")
    found = service("def handle(data, context): return []\n")
    with pytest.raises(ModelLoadError, match=r"MANIFEST\.json cannot be read"):
        found.load("m1", tmp_path)


# -- What is a service ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "",
        "def model_fn(model_dir): return 1\n\ndef handle(data, context): return data\n",
        "class Helper:\n    def handle(self, x): return x\n\ndef input_fn(b, t): return b\n",
        "from sagemaker_inference.default_handler_service import DefaultHandlerService\n",
        "handle = None\n",
    ],
)
def test_what_is_no_service(service, code):
    assert service(code) is None


def test_several_services(service):
    code = "class {0}:\n    def handle(self, data, context): pass\n"
    with pytest.raises(ModelLoadError, match="defines several services, A and B: keep one"):
        service(code.format("A") + code.format("B"))
    assert service(code.format("A") + code.format("B") + "handle = B().handle\n")
