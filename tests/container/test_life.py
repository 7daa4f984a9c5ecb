"""The multi-model contract over a published port, as SageMaker speaks it."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mme_training.archives.pack import unpack
from support.container import MODELS, assert_answers
from support.models import csv_of, json_of, make_rows

pytestmark = pytest.mark.container

ROWS = make_rows(50, seed=6)
EXAMPLES = Path(__file__).parents[2] / "examples"
HOUSE = "1995,3000,3,2.5,1.0,2"


def test_a_models_life(server, make_model):
    model = make_model()
    assert server.invoke(model.name, csv_of(ROWS)).status_code == 404
    assert server.load(model.name).status_code == 200
    assert server.load(model.name).status_code == 409
    assert server.names() == {model.name}
    described = server.get(model.name).json()
    assert described["modelName"] == model.name
    assert described["modelUrl"] == f"{MODELS}/{model.name}/model"
    assert_answers(server, model, ROWS)
    assert server.unload(model.name).status_code == 200
    assert server.unload(model.name).status_code == 404
    assert server.get(model.name).status_code == 404
    assert server.invoke(model.name, csv_of(ROWS)).status_code == 404
    assert server.load(model.name).status_code == 200
    assert_answers(server, model, ROWS)


def libsvm(rows: np.ndarray) -> bytes:
    lines = [
        " ".join(f"{i}:{float(v)!r}" for i, v in enumerate(row) if not np.isnan(v)) for row in rows
    ]
    return "".join(f"0 {line}\n" for line in lines).encode()


def jsonlines(rows: np.ndarray) -> bytes:
    cells = [[None if np.isnan(v) else float(v) for v in row] for row in rows]
    return "".join(json.dumps({"features": row}) + "\n" for row in cells).encode()


def npy(rows: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, rows)
    return file.getvalue()


def arrow(rows: np.ndarray) -> bytes:
    table = pa.table({f"f{i}": column for i, column in enumerate(rows.T)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("content_type", "write"),
    [
        ("text/csv", csv_of),
        ("application/json", json_of),
        ("application/jsonlines", jsonlines),
        ("text/libsvm", libsvm),
        ("application/x-npy", npy),
        ("application/vnd.apache.arrow.stream", arrow),
    ],
)
def test_every_content_type_gives_the_same_bits(server, make_model, content_type, write):
    model = server.add(make_model(seed=1))
    answer = server.invoke(model.name, write(ROWS), content_type, accept="text/csv")
    assert answer.status_code == 200, answer.text
    answered = np.array([np.float32(line) for line in answer.text.split()])
    assert np.array_equal(answered, model.predict(ROWS))


def test_mistakes_are_explained(server, make_model):
    model = server.add(make_model())
    answer = server.invoke(model.name, "1,2")
    assert answer.status_code == 400
    assert answer.json()["message"] == "line 1: got 2 values, the model takes 6"
    assert server.invoke(model.name, "<a/>", "text/xml").status_code == 415
    assert server.load("nowhere").status_code == 404
    assert server.send("GET", "/nowhere").status_code == 404


def test_models_are_listed_in_pages(server, make_model):
    names = {server.add(make_model(seed=n % 2)).name for n in range(105)}
    assert [len(page) for page in server.pages()] == [100, 5]
    assert server.names() == names


@pytest.fixture(scope="module")
def examples(make_model, tmp_path_factory) -> dict[str, str]:
    """Id of each example's archive by its name, unpacked where the server can load it."""
    out = tmp_path_factory.mktemp("examples")
    for build in sorted(EXAMPLES.glob("*/build.py")):
        subprocess.run([sys.executable, build, out], check=True, capture_output=True, timeout=60)
    ids = {}
    for archive in out.glob("*.tar.gz"):
        name = archive.name.removesuffix(".tar.gz")
        ids[name] = hashlib.sha256(archive.name.encode()).hexdigest()
        unpack(archive, make_model.root / ids[name] / "model")
    return ids


@pytest.mark.parametrize(
    ("archive", "row", "answer"),
    [
        ("feature_engineering", HOUSE, {"score"}),
        ("price_band", HOUSE, {"price", "currency", "band"}),
        ("sklearn_pipeline", f"{HOUSE},Houston_TX", {"score"}),
        ("multiclass_labels", HOUSE, {"predicted_label", "probabilities"}),
        ("multiclass_labels_named", HOUSE, {"label", "probabilities"}),
    ],
)
def test_models_with_code_load_and_answer(server, examples, archive, row, answer):
    assert set(examples) >= {archive}, sorted(examples)
    loaded = server.load(examples[archive])
    assert loaded.status_code == 200, loaded.text
    response = server.invoke(examples[archive], row)
    assert response.status_code == 200, response.text
    (prediction,) = response.json()["predictions"]
    assert set(prediction) == answer
