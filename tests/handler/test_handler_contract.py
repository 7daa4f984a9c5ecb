"""What docs/handler.md says of models, their settings and their code, over HTTP."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from mme_handler.models.settings import ModelSettings
from support.serving import Model, Server, csv_of, json_of, make_rows

CSV, JSON, NPY = "text/csv", "application/json", "application/x-npy"
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
ROWS = make_rows(12, seed=3)
BODY = csv_of(ROWS)


@pytest.fixture(scope="module")
def permissive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose container settings are not the defaults."""
    code = tmp_path_factory.mktemp("code")
    (code / "serve.py").write_text("def output_fn(prediction, accept): return 'shared code'\n")
    env = {
        "MME_ALLOW_PICKLE": "true",
        "MME_LIBSVM_INDEX_BASE": "1",
        "MME_DEVICE": "cpu",
        "MME_MODEL_TIMEOUT": "20",
        "SAGEMAKER_INFERENCE_OUTPUT": "margin",
        "SAGEMAKER_INFERENCE_ENSEMBLE": "false",
        "SAGEMAKER_PROGRAM": "serve.py",
        "MME_HOSTS": "1",
    }
    with Server(tmp_path_factory.mktemp("permissive"), env=env) as server:
        yield server


def ask(server: Server, model: Model, body: bytes | str = BODY, kind: str = CSV, **headers: str):
    headers.setdefault("accept", CSV)
    return server.invoke(model.name, body, kind, headers)


def scores(answer: Any) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.array([np.float32(line) for line in answer.text.splitlines()], np.float32)


def refusal(server: Server, model: Model) -> str:
    """Why a model cannot be loaded, as the log has it."""
    assert server.load(model.name, model.path)[0] == 500
    return server.wait_log(event="load failed", model=model.name)["reason"]


def raw(booster: xgb.Booster) -> bytes:
    return bytes(booster.save_raw("ubj"))


# -- Model files -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.ubj", "model.json", "xgboost-model", "anything.bin"])
def test_a_model_file_may_have_any_name(server, make_model, name):
    form = "json" if name == "model.json" else "ubj"
    content = bytes(make_model.booster(0).save_raw(form))
    others = {"README.md": "x", "data.csv": "1", ".hidden": "x", "notes.txt": "x"}
    model = server.add(make_model("none", files={name: content, **others}))
    assert np.array_equal(scores(ask(server, model)), model.predict(ROWS))


def test_model_files_that_differ_in_a_number_are_an_ensemble(server, permissive, make_model):
    boosters = [make_model.booster(seed) for seed in (0, 1)]
    files = {f"model-{number}.ubj": raw(booster) for number, booster in enumerate(boosters)}
    model = make_model("none", files=files)
    server.add(model)
    parts = [booster.predict(xgb.DMatrix(ROWS)) for booster in boosters]
    assert np.array_equal(scores(ask(server, model)), np.mean(parts, axis=0))
    # SAGEMAKER_INFERENCE_ENSEMBLE=false
    permissive.add(model)
    assert np.array_equal(scores(ask(permissive, model)), parts[0])


def test_pickles_are_refused_unless_they_are_allowed(server, permissive, make_model):
    model = make_model("none", files={"xgboost-model": pickle.dumps(make_model.booster(0))})
    assert "MME_ALLOW_PICKLE=true" in refusal(server, model)
    permissive.add(model)
    line = permissive.wait_log(event="loaded", model=model.name)
    assert line["home"] == "isolated"
    assert np.array_equal(scores(ask(permissive, model)), model.predict(ROWS))


def early_stopped() -> xgb.Booster:
    rng = np.random.default_rng(3)
    rows = make_rows(200)
    data, held_out = (xgb.DMatrix(rows, rng.normal(size=200)) for _ in range(2))
    booster = xgb.train(
        {"max_depth": 3, "eta": 1, "nthread": 1},
        data,
        40,
        evals=[(held_out, "held_out")],
        early_stopping_rounds=5,
        verbose_eval=False,
    )
    assert booster.best_iteration < booster.num_boosted_rounds() - 1
    return booster


def test_which_trees_count(server, make_model):
    booster = early_stopped()
    file = {"model.ubj": raw(booster)}
    every = server.add(make_model("none", files=file))
    expected = booster.predict(xgb.DMatrix(ROWS))
    assert np.array_equal(scores(ask(server, every)), expected)
    best = make_model("none", files={**file, "mme.toml": 'trees = "best_iteration"'})
    server.add(best)
    fewer = booster.predict(xgb.DMatrix(ROWS), iteration_range=(0, booster.best_iteration + 1))
    assert not np.array_equal(fewer, expected)
    assert np.array_equal(scores(ask(server, best)), fewer)


# -- Numbers -----------------------------------------------------------------------------------


def test_missing_values(server, make_model):
    model = server.add(make_model(files={"mme.toml": "missing = -999"}))
    rows = np.float32([[np.nan, 2, 3, 4, np.nan, 6]])
    expected = model.predict(rows)
    for text in (",2,3,4,-999,6", "NA,2,3,4,nan,6", "null,2,3,4,-999.0,6", '"",2,3,4,NaN,6'):
        assert np.array_equal(scores(ask(server, model, text)), expected), text
    for document in ([None, 2, 3, 4, -999, 6], ["NaN", 2, 3, 4, "NA", 6]):
        answer = ask(server, model, json.dumps(document), JSON)
        assert np.array_equal(scores(answer), expected), document
    assert np.array_equal(scores(ask(server, model, "0 1:2 2:3 3:4 5:6", "text/libsvm")), expected)


def test_what_is_no_finite_number_in_an_answer(server, make_model):
    script = "def predict_fn(data, model): return [float('nan'), float('inf'), -float('inf')]\n"
    model = server.add(make_model(files={"code/inference.py": script}))
    assert ask(server, model).text == "nan\ninf\n-inf\n"
    nulls = [{"score": None}] * 3
    assert ask(server, model, accept=JSON).json() == {"predictions": nulls}
    lines = ask(server, model, accept="application/jsonlines").text.splitlines()
    assert [json.loads(line) for line in lines] == nulls


def test_numbers_have_the_fewest_digits(server, make_model):
    script = "def predict_fn(data, model): return [0.1, 1/3, 1e20, 16777216]\n"
    model = server.add(make_model(files={"code/inference.py": script}))
    assert ask(server, model).text == "0.1\n0.33333334\n1e+20\n16777216.0\n"


def categorical() -> xgb.Booster:
    colours = pd.Categorical(["red", "blue", "NA"] * 100, categories=["red", "blue", "NA"])
    table = pd.DataFrame({"colour": colours, "size": np.arange(300.0)})
    data = xgb.DMatrix(table, label=np.arange(300) % 3, enable_categorical=True)
    return xgb.train({"max_depth": 3, "nthread": 1}, data, 5)


def test_categorical_columns(server, make_model):
    booster = categorical()
    model = server.add(make_model("none", files={"model.ubj": raw(booster)}))
    rows = np.float32([[0, 1], [1, 2], [2, 3], [np.nan, 4]])
    types = {"feature_names": ["colour", "size"], "feature_types": ["c", "q"]}
    expected = booster.predict(xgb.DMatrix(rows, enable_categorical=True, **types))
    assert len(set(expected.tolist())) >= 3
    for text in (
        "red,1\nblue,2\nNA,3\n,4\n",
        "0,1\n1,2\n2,3\n,4\n",
        "size,colour\n1,red\n2,1\n3,NA\n4,",
    ):
        assert np.array_equal(scores(ask(server, model, text)), expected), text
    document = [["red", 1], ["blue", 2], [2, 3], {"size": 4, "colour": None}]
    answer = ask(server, model, json.dumps(document), JSON)
    assert np.array_equal(scores(answer), expected)
    answer = ask(server, model, "green,1\n")
    assert answer.status_code == 400
    reason = "line 1, 'colour': 'green' is not a category of the model; known are 'red', 'blue'"
    assert reason in answer.json()["message"]


# -- mme.toml ----------------------------------------------------------------------------------

SETTINGS = {
    "missing": "-1",
    "output": '"margin"',
    "default_accept": '"text/csv"',
    "device": '"cpu"',
    "threads": "2",
    "timeout": "5",
    "memory": '"30m"',
    "batch_size": "5",
    "trees": '"all"',
    "libsvm_index_base": "1",
}


def test_every_key_may_be_set(server, make_model):
    assert list(SETTINGS) == list(ModelSettings.model_fields)
    text = "\n".join(f"{key} = {value}" for key, value in SETTINGS.items())
    model = server.add(make_model(files={"mme.toml": text}))
    answer = server.invoke(model.name, BODY, CSV, {"accept": "*/*"})
    assert answer.headers["content-type"] == CSV
    assert np.array_equal(scores(answer), model.predict(ROWS))
    line = server.wait_log(event="loaded", model=model.name)
    assert line["memory"] >= 30 << 20


def test_settings_as_json(server, make_model):
    model = server.add(make_model(files={"mme.json": '{"output": "margin"}'}))
    first = ask(server, model, accept=JSON).json()["predictions"][0]
    assert list(first) == ["margin"]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"mme.toml": "mising = -1"}, "mme.toml: unknown key 'mising': did you mean 'missing'?"),
        ({"mme.toml": "threads = 0"}, "threads: Input should be greater than or equal to 1"),
        ({"mme.toml": "", "mme.json": "{}"}, "holds both mme.toml and mme.json: keep one"),
        ({"mme.toml": "timeout = 100"}, "a timeout of 100 s, and the container allows 60 s"),
        ({"mme.toml": 'trees = "best_iteration"'}, "has none: it was trained without early stop"),
        ({"mme.toml": 'device = "cuda"'}, "device cuda is wanted, and"),
        ({"mme.toml": 'output = "shap"'}, "unknown output 'shap'"),
    ],
)
def test_settings_that_are_refused(server, make_model, files, reason):
    assert reason in refusal(server, make_model(files=files))


# -- The container's settings ------------------------------------------------------------------


def test_outputs_by_setting_and_by_request(permissive, make_model):
    """SAGEMAKER_INFERENCE_OUTPUT, then mme.toml, then the request's custom attributes."""
    model = permissive.add(make_model())
    own = permissive.add(make_model(files={"mme.toml": 'output = "leaf"'}))

    def keys(which: Model, **headers: str) -> list[str]:
        return list(ask(permissive, which, accept=JSON, **headers).json()["predictions"][0])

    assert keys(model) == ["margin"]
    assert keys(own) == ["leaf"]
    assert keys(own, **{ATTRIBUTES: "output=score,margin"}) == ["score", "margin"]


def test_the_base_of_libsvm(server, permissive, make_model):
    """MME_LIBSVM_INDEX_BASE, and mme.toml before it."""
    model = make_model(files={"mme.toml": 'output = "score"'})
    zero = make_model(files={"mme.toml": 'output = "score"\nlibsvm_index_base = 0'})
    expected = model.predict(np.float32([[1, np.nan, 3, np.nan, np.nan, 6]]))
    permissive.add(model)
    permissive.add(zero)
    server.add(model)
    one_based, zero_based = "7 1:1 3:3 6:6", "7 0:1 2:3 5:6"
    for which, target, body in (
        (permissive, model, one_based),
        (permissive, zero, zero_based),
        (server, model, zero_based),
    ):
        assert np.array_equal(scores(ask(which, target, body, "text/libsvm")), expected)
    # The base is not guessed.
    answer = ask(server, model, one_based, "text/libsvm")
    assert answer.status_code == 400
    assert "declare it with libsvm_index_base" in answer.json()["message"]


def test_the_program_may_have_another_name(permissive, make_model):
    script = "def output_fn(prediction, accept): return 'own'\n"
    model = permissive.add(make_model(files={"code/serve.py": script}))
    assert ask(permissive, model).text == "own"
    other = permissive.add(make_model(files={"code/inference.py": script}))
    assert ask(permissive, other).text != "own"


def test_code_for_models_that_bring_none(make_server, make_model, tmp_path):
    (tmp_path / "inference.py").write_text("def output_fn(p, a): return 'common'\n")
    server = make_server(SAGEMAKER_SUBMIT_DIRECTORY=str(tmp_path), MME_HOSTS="1")
    model = server.add(make_model())
    own = server.add(make_model(files={"code/inference.py": "def output_fn(p, a): return 'own'"}))
    assert ask(server, model).text == "common"
    assert ask(server, own).text == "own"


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
        context.system_properties,
        context.headers["x-custom"],
        context.get_request_header(0, "X-Custom"),
        context.get_all_request_header(0) == context.headers,
        context.request_id == context.get_request_id(),
        context.request_id,
    ])
"""


def test_what_the_context_holds(server, make_model):
    model = server.add(make_model(files={"code/inference.py": CONTEXT}))
    answer = ask(server, model, **{"X-Custom": "7"})
    directory = str(model.path)
    properties = {"model_dir": directory, "gpu_id": None, "batch_size": 1}
    assert answer.json() == [
        *(model.name, directory, properties, "7", "7", True, True),
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


# -- Limits and errors -------------------------------------------------------------------------


def test_rows_that_would_take_too_much(server, make_model):
    rows = np.random.default_rng(0).normal(size=(50, 2000))
    booster = xgb.train({"max_depth": 2, "nthread": 1}, xgb.DMatrix(rows, rows[:, 0]), 2)
    model = server.add(make_model("none", files={"model.ubj": raw(booster)}))
    answer = ask(server, model, b"0:1\n" * 40_000, "text/libsvm")
    assert answer.status_code == 413
    assert "send at most 33,554 rows" in answer.json()["message"]
    many = {ATTRIBUTES: "output=interactions"}
    answer = ask(server, model, b"0:1\n" * 20, "text/libsvm", **many)
    assert answer.status_code == 413
    assert "send at most 16 rows" in answer.json()["message"]


def test_the_form_of_an_error(server, make_model):
    model = server.add(make_model())
    answer = ask(server, model, "1,2\n", accept=CSV)
    assert answer.headers["content-type"] == JSON
    assert answer.json() == {
        "code": 400,
        "type": "BadRequestError",
        "message": "line 1: got 2 values, the model takes 6",
    }


@pytest.mark.parametrize(
    ("settings", "output"),
    [
        ({"booster": "gblinear"}, "leaf"),
        ({"booster": "gblinear"}, "interactions"),
        ({"multi_strategy": "multi_output_tree", "tree_method": "hist"}, "contributions"),
        ({"multi_strategy": "multi_output_tree", "tree_method": "hist"}, "interactions"),
    ],
)
def test_an_output_that_a_model_does_not_have(server, make_model, settings, output):
    rows = np.nan_to_num(make_rows(50))
    label = rows[:, :2] if "multi_strategy" in settings else rows[:, 0]
    booster = xgb.train({**settings, "nthread": 1}, xgb.DMatrix(rows, label), 2)
    model = server.add(make_model("none", files={"model.ubj": raw(booster)}))
    answer = ask(server, model, **{ATTRIBUTES: f"output={output}"})
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(f"This model has no {output}: ")
    assert server.invoke(model.name, BODY, CSV).status_code == 200


def test_infinity_is_refused(server, make_model):
    model = server.add(make_model())
    row = np.float32([[1, 2, 3, 4, np.inf, 6]])
    stream = io.BytesIO()
    np.save(stream, row)
    bodies: dict[str, Any] = {
        CSV: "1,2,3,4,inf,6",
        JSON: "[1,2,3,4,1e300,6]",
        "text/libsvm": "4:inf",
        NPY: stream.getvalue(),
    }
    for kind, body in bodies.items():
        answer = ask(server, model, body, kind)
        assert answer.status_code == 400, kind
        assert "is infinite or too large for a float32" in answer.json()["message"], kind
