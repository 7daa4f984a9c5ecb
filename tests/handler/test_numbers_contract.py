"""What docs/handler.md says of numbers, limits and errors, over HTTP."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from support.contract import ATTRIBUTES, BODY, CSV, JSON, NPY, ask, raw, scores
from support.models import make_rows

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


# -- Limits and errors -------------------------------------------------------------------------


def test_rows_that_would_take_too_much(server, make_model):
    rows = np.random.default_rng(0).normal(size=(50, 2000))
    booster = xgb.train({"max_depth": 2, "nthread": 1}, xgb.DMatrix(rows, rows[:, 0]), 2)
    model = server.add(make_model("none", files={"model.ubj": raw(booster)}))
    answer = ask(server, model, b"0:1\n" * 40_000, "text/libsvm")
    assert answer.status_code == 413
    assert "send at most 16,777 rows" in answer.json()["message"]
    many = {ATTRIBUTES: "output=interactions"}
    answer = ask(server, model, b"0:1\n" * 20, "text/libsvm", **many)
    assert answer.status_code == 413
    assert "are too much for one answer: even one row is" in answer.json()["message"]


@pytest.mark.parametrize(
    ("body", "content_type"), [(b"0:1\n" * 20, "text/libsvm"), (b"[[" + b"0," * 299 + b"0]]", JSON)]
)
def test_much_work_in_a_small_body_holds_up_nobody(make_server, make_model, body, content_type):
    rows = np.random.default_rng(0).normal(size=(500, 300))
    booster = xgb.train({"max_depth": 6, "nthread": 1}, xgb.DMatrix(rows, rows.sum(axis=1)), 60)
    server = make_server(MME_HOSTS="1", SAGEMAKER_MAX_PAYLOAD_IN_MB="30")
    heavy = server.add(make_model("none", files={"model.ubj": raw(booster)}))
    light = server.add(make_model())
    with ThreadPoolExecutor(1) as thread:
        more = {ATTRIBUTES: "output=interactions"}
        running = thread.submit(ask, server, heavy, body, content_type, **more)
        answers = 0
        while not running.done():
            assert server.invoke(light.name, BODY, CSV).status_code == 200
            answers += 1
    assert running.result().status_code == 200
    assert answers > 10, answers


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
    assert answer.json()["message"].startswith(f"XGBoost has no {output} for this model")
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
