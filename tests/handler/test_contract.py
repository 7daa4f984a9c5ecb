"""The multi-model contract, over HTTP, as SageMaker and its clients see it."""

from __future__ import annotations

import json
import threading

import httpx
import numpy as np
import pytest

from support.models import csv_of, json_of, make_rows
from support.serving import Server, free_port, until

ROWS = make_rows(40, seed=11)
ODD_NAMES = [
    "two words",
    "100%",
    "a%20b",
    "ünïcödé 模型 🏠",
    'it\'s "quoted"',
    "a+b&c=d?e#f;g",
    "back\\slash",
    "-",
    ".hidden",
    "x" * 200,
]


@pytest.fixture(scope="module")
def configured(tmp_path_factory, make_model):
    """A server that is told everything by its environment, but confined by its command line."""
    directory = tmp_path_factory.mktemp("configured")
    env = {
        "SAGEMAKER_BIND_TO_PORT": str(free_port()),
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": "1",
        "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "text/csv",
        "MME_LOG_FORMAT": "text",
        "MME_METRICS_PORT": str(free_port()),
        "MME_HOSTS": "1",
    }
    with Server(directory, "--models", str(make_model.root), port=None, env=env) as server:
        yield server


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    env = {"SAGEMAKER_MODEL_SERVER_WORKERS": "2"}
    with Server(tmp_path_factory.mktemp("two_workers"), env=env) as server:
        yield server


# -- Models come and go ------------------------------------------------------------------------


def test_without_models_it_is_healthy_and_lists_none(server):
    assert server.client.get("/ping").status_code == 200
    response = server.client.get("/models")
    assert response.status_code == 200
    assert response.json()["models"] == []


def test_a_models_life(server, make_model):
    model = make_model()
    assert len(model.name) == 64
    assert server.load(model.name, model.path)[0] == 200
    assert server.load(model.name, model.path)[0] == 409
    described = server.get(model.name).json()
    assert described["modelName"] == model.name
    assert described["modelUrl"] == str(model.path)
    assert server.invoke(model.name, csv_of(ROWS)).status_code == 200
    assert server.unload(model.name).status_code == 200
    assert server.unload(model.name).status_code == 404
    assert server.get(model.name).status_code == 404


def test_a_name_can_be_used_again_for_another_model(server, make_model):
    first, second = make_model(seed=0), make_model(seed=1)
    for model in (first, second, first):
        assert server.load("the same", model.path)[0] == 200
        answer = server.invoke("the same", csv_of(ROWS), headers={"accept": "text/csv"})
        assert np.array_equal(_from_csv(answer.text), model.predict(ROWS))
        assert server.unload("the same").status_code == 200


def test_loading_takes_parameters_in_the_query_too(server, make_model):
    model = make_model()
    params = {"model_name": model.name, "url": str(model.path)}
    assert server.client.post("/models", params=params).status_code == 200
    assert server.get(model.name).status_code == 200


def test_models_are_listed_in_pages(server, make_model):
    names = {server.add(make_model()).name for _ in range(5)}
    pages = list(server.pages(limit=2))
    assert [len(page) for page in pages] == [2, 2, 1]
    listed = [model["modelName"] for page in pages for model in page]
    assert len(listed) == 5
    assert set(listed) == names
    assert [len(page) for page in server.pages(limit=9)] == [5]
    assert [len(page) for page in server.pages()] == [5]
    first = server.client.get("/models", params={"limit": 2}).json()
    assert first["nextPageToken"] == "2"


def test_an_unknown_model_is_not_found(server):
    name = "0" * 64
    assert server.get(name).status_code == 404
    assert server.unload(name).status_code == 404
    answer = server.invoke(name, csv_of(ROWS))
    assert answer.status_code == 404
    assert name in answer.json()["message"]


def test_a_url_that_does_not_exist_is_not_found(server, tmp_path):
    assert server.load("nowhere", tmp_path / "nowhere")[0] == 404
    assert server.get("nowhere").status_code == 404


@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
def test_any_name_will_do(server, make_model, name):
    model = make_model()
    assert server.load(name, model.path)[0] == 200
    assert server.get(name).json()["modelName"] == name
    assert name in server.names()
    assert server.invoke(name, csv_of(ROWS)).status_code == 200
    assert server.wait_log(event="loaded", model=name)
    assert server.metric("mme_invocations_total", model=name, status="200") == 1
    assert server.unload(name).status_code == 200
    assert server.wait_log(event="unloaded", model=name)


def test_a_directory_with_an_odd_name_will_do(server, make_model, tmp_path):
    path = tmp_path / "é %41 & 'x' \"y\"" / "a b"
    path.parent.mkdir()
    make_model().path.rename(path)
    assert server.load("odd path", path)[0] == 200
    assert server.invoke("odd path", csv_of(ROWS)).status_code == 200


# -- Answers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ubj", "json"])
@pytest.mark.parametrize("count", [1, 40, 5000])
def test_predictions_are_those_of_xgboost_bit_for_bit(server, make_model, kind, count):
    model = server.add(make_model(kind, seed=1))
    rows = make_rows(count, seed=count)
    expected = model.predict(rows)
    as_csv = server.invoke(model.name, csv_of(rows), headers={"accept": "text/csv"})
    as_json = server.invoke(
        model.name, json_of(rows), "application/json", {"accept": "application/json"}
    )
    assert as_csv.headers["content-type"] == "text/csv"
    assert as_json.headers["content-type"] == "application/json"
    assert np.array_equal(_from_csv(as_csv.text), expected)
    assert np.array_equal(_from_json(as_json.json()), expected)


def test_json_rows_may_be_written_in_several_ways(server, make_model):
    model = server.add(make_model())
    row = [120.0, 4, 30, 5.5, 48.1, None]
    expected = model.predict(np.array([row], dtype=np.float32))
    for document in (
        row,
        [row],
        {"instances": [row]},
        {"instances": [{"features": row}]},
        {"features": row},
    ):
        answer = server.invoke(model.name, json.dumps(document), "application/json")
        assert answer.status_code == 200, document
        assert np.array_equal(_from_json(answer.json()), expected)


def test_content_types_are_chosen_by_the_headers(server, make_model):
    model = server.add(make_model())
    body = csv_of(ROWS[:2])
    for content_type in ("text/csv", "text/csv; charset=utf-8", "TEXT/CSV", None):
        assert server.invoke(model.name, body, content_type).status_code == 200, content_type
    for accept, expected in (
        (None, "application/json"),
        ("*/*", "application/json"),
        ("text/csv", "text/csv"),
        ("application/json;q=0.5, text/*", "text/csv"),
    ):
        headers = {"accept": accept} if accept else {"accept": ""}
        answer = server.invoke(model.name, body, headers=headers)
        assert answer.headers["content-type"] == expected, accept


def test_many_clients_at_once_get_their_own_answers(server, make_model):
    models = [server.add(make_model(seed=seed)) for seed in (0, 1, 0, 1)]
    rows = make_rows(200, seed=3)
    expected = [model.predict(rows) for model in models]
    wrong = []

    def ask(number: int) -> None:
        with httpx.Client(base_url=server.client.base_url, timeout=30) as client:
            for i in range(number, 200, 8):
                which = i % len(models)
                url = f"/models/{models[which].name}/invoke"
                headers = {"content-type": "text/csv", "accept": "text/csv"}
                answer = client.post(url, content=csv_of(rows[i : i + 1]), headers=headers)
                if answer.status_code != 200 or np.float32(answer.text) != expected[which][i]:
                    wrong.append((i, answer.status_code, answer.text))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# -- Settings ----------------------------------------------------------------------------------


def test_the_ready_line(server, configured, make_model):
    for each, below, hosts in ((server, "/", "2 hosts"), (configured, make_model.root, "1 hosts")):
        assert each.stdout_path.read_text().count("\n") == 1
        line = each.ready_line
        assert line.startswith(f"mme ready on port {each.port}: models below {below}, ")
        assert f"metrics on port {each.metrics_port}, memory budget " in line
        assert line.endswith(hosts) or each is server
    assert configured.client.get("/ping").status_code == 200


def test_only_models_below_the_directory_can_be_loaded(configured, make_model, tmp_path):
    inside = make_model()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "model.ubj").write_bytes(inside.file.read_bytes())
    climbing = make_model.root / ".." / ".." / ".." / outside.relative_to("/")
    roundabout = inside.path / ".." / ".." / ".." / ".." / ".." / ".." / ".." / ".." / ".." / ".."
    roundabout /= outside.relative_to("/")
    for path in (outside, climbing, roundabout, "/etc", f"file://{outside}"):
        response = configured.load_response("outside", path)
        assert 400 <= response.status_code < 500, (path, response.text)
        assert configured.get("outside").status_code == 404
    assert configured.load("outside", "/")[0] >= 400
    assert configured.load("inside", inside.path)[0] == 200
    assert configured.unload("inside").status_code == 200


def test_a_request_that_is_too_large_is_refused(configured, make_model):
    model = configured.add(make_model())
    limit = 1 << 20
    line = b"1,2,3,4,5,6\n"
    fits = line * (limit // len(line))
    assert configured.invoke(model.name, fits).status_code == 200
    assert _status_of_large(configured, model.name, fits + line * 100) == 413
    assert configured.invoke(model.name, line).status_code == 200


def test_an_answer_that_is_too_large_is_refused_with_the_reason(configured, make_model):
    model = configured.add(make_model())
    body = b",,,,,\n" * 170_000
    answer = configured.invoke(model.name, body, headers={"accept": "application/json"})
    assert answer.status_code == 413
    assert "at most 1,048,576 can be sent: send fewer rows" in answer.json()["message"]
    assert configured.invoke(model.name, b"1,2,3,4,5,6").status_code == 200


def test_the_default_content_type_of_answers(configured, make_model):
    model = configured.add(make_model())
    script = "def output_fn(prediction, accept): return accept\n"
    own = configured.add(make_model(files={"code/inference.py": script}))
    body = csv_of(ROWS[:1])
    for accept in ("", "*/*"):
        answer = configured.invoke(model.name, body, headers={"accept": accept})
        assert answer.headers["content-type"] == "text/csv"
        assert configured.invoke(own.name, body, headers={"accept": accept}).text == "text/csv"
    answer = configured.invoke(model.name, body, headers={"accept": "application/json"})
    assert answer.headers["content-type"] == "application/json"


def test_log_lines_as_text(configured, make_model):
    model = configured.add(make_model())
    configured.unload(model.name)
    assert until(lambda: "unloaded" in configured.log_text())
    (line,) = [
        line
        for line in configured.log_text().splitlines()
        if model.name in line and " loaded " in line
    ]
    assert not line.startswith("{")
    assert "\x1b" not in line
    assert "home=shared" in line


def test_two_workers_answer_at_once_for_one_model(two_workers, make_model, tmp_path):
    # Each request waits until the other is there too.
    script = f"""
import os, time
from pathlib import Path

def transform_fn(model, body, content_type, accept):
    place = Path({str(tmp_path)!r})
    (place / body).touch()
    end = time.monotonic() + 10
    while len(list(place.iterdir())) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    return str(len(list(place.iterdir())))
"""
    model = make_model(files={"code/inference.py": script})
    assert two_workers.load(model.name, model.path, timeout=5)[0] == 200
    assert len(two_workers.get(model.name).json()["workers"]) == 2
    assert _in_parallel(two_workers, model.name, [b"a", b"b"]) == ["2", "2"]
    assert two_workers.unload(model.name).status_code == 200
    until(lambda: not two_workers.pids()["isolated"])


def test_two_workers_of_a_plain_model(two_workers, make_model):
    model = make_model()
    assert two_workers.load(model.name, model.path, timeout=5)[0] == 200
    assert len(two_workers.get(model.name).json()["workers"]) == 2
    rows = make_rows(8, seed=5)
    answers = _in_parallel(two_workers, model.name, [csv_of(rows[i : i + 1]) for i in range(8)])
    scores = [json.loads(answer)["predictions"][0]["score"] for answer in answers]
    assert np.array_equal(np.array(scores, np.float32), model.predict(rows))
    assert two_workers.unload(model.name).status_code == 200
    until(lambda: two_workers.metric("mme_models") == 0)


# -- Helpers -----------------------------------------------------------------------------------


def _from_csv(text: str) -> np.ndarray:
    return np.array([np.float32(line) for line in text.splitlines()], np.float32)


def _from_json(document: dict) -> np.ndarray:
    return np.array([np.float32(row["score"]) for row in document["predictions"]], np.float32)


def _status_of_large(server: Server, name: str, body: bytes) -> int:
    """The status, though the server may hang up before it has read the whole body."""
    try:
        return server.invoke(name, body).status_code
    except httpx.WriteError:
        # What was answered is lost when the connection is reset; ask for leave to send first.
        return server.invoke(name, body, headers={"expect": "100-continue"}).status_code


def _in_parallel(server: Server, name: str, bodies: list[bytes]) -> list[str]:
    answers: dict[int, str] = {}

    def ask(number: int) -> None:
        with httpx.Client(base_url=server.client.base_url, timeout=30) as client:
            headers = {"content-type": "text/csv"}
            url = f"/models/{name}/invoke"
            answers[number] = client.post(url, content=bodies[number], headers=headers).text

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [answers[number] for number in range(len(bodies))]
