"""What docs/handler.md says of model files and of settings, over HTTP."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import numpy as np
import pytest
import xgboost as xgb

from mme_handler.models.settings import ModelSettings
from support.contract import ATTRIBUTES, BODY, CSV, JSON, ROWS, ask, raw, refusal, scores
from support.models import Model, make_rows
from support.serving import Server


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
    usual = permissive.add(make_model(files={"code/inference.py": script}))
    assert ask(permissive, usual).text == "own"


def test_code_for_models_that_bring_none(make_server, make_model, tmp_path):
    (tmp_path / "inference.py").write_text("def output_fn(p, a): return 'common'\n")
    server = make_server(SAGEMAKER_SUBMIT_DIRECTORY=str(tmp_path), MME_HOSTS="1")
    model = server.add(make_model())
    own = server.add(make_model(files={"code/inference.py": "def output_fn(p, a): return 'own'"}))
    assert ask(server, model).text == "common"
    assert ask(server, own).text == "own"
