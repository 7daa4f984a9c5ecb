"""One model that is there from the start: /invocations, a /ping that waits, and its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from support.models import csv_of, make_rows
from support.serving import Server, free_port, until

ROWS = make_rows(20, seed=5)
SLOW = """
import time
from mme_handler import model_fn as default_model_fn

def model_fn(model_dir):
    time.sleep(1.5)
    return default_model_fn(model_dir)
"""


def invoke(server: Server, body: bytes, **headers: str) -> httpx.Response:
    sent = {"content-type": "text/csv", **headers}
    return server.client.post("/invocations", content=body, headers=sent)


def assert_answers(server: Server, model) -> None:
    response = invoke(server, csv_of(ROWS), accept="application/json")
    assert response.status_code == 200, response.text
    scores = [row["score"] for row in response.json()["predictions"]]
    assert scores == pytest.approx(model.predict(ROWS).tolist(), rel=1e-6)


def refused_to_start(*args: str) -> str:
    """What `mme serve` says on standard error when it ends with status 2."""
    ended = subprocess.run(
        [str(Path(sys.executable).with_name("mme")), "serve", *args],
        env={**os.environ, "SAGEMAKER_BIND_TO_PORT": str(free_port()), "MME_METRICS_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 2
    return ended.stderr


def test_invocations(make_server, make_model):
    model = make_model()
    server = make_server("--model", str(model.path), MME_HOSTS="2")
    assert f"the model at {model.path}" in server.ready_line
    assert server.client.get("/ping").status_code == 200
    assert_answers(server, model)
    # As many workers as hosts, and MMS's own models' API beside.
    assert len({line["pid"] for line in server.logs(home="shared")}) == 2
    assert server.names() == {"model"}
    # What MMS has no place for, SageMaker does without.
    assert server.client.get("/execution-parameters").status_code == 404
    assert "gate" not in server.log_text()
    assert server.stop() == 0


def test_the_way_sagemaker_starts_it(make_server, make_model):
    """No arguments: the model is at a fixed place, and SAGEMAKER_MULTI_MODEL is not set."""
    model = make_model()
    server = make_server(MME_MODEL=str(model.path))
    assert_answers(server, model)


def test_told_to_be_multi_model(make_server, make_model):
    server = make_server(MME_MODEL=str(make_model().path), SAGEMAKER_MULTI_MODEL="true")
    assert server.names() == set()
    assert invoke(server, b"1").status_code == 400


def test_ping_is_good_only_when_the_model_is_loaded(make_server, make_model):
    model = make_model(files={"code/inference.py": SLOW})
    started = time.monotonic()
    server = make_server("--model", str(model.path), MME_HOSTS="1", ready=False)

    def ping() -> bool:
        try:
            return server.client.get("/ping").status_code == 200
        except httpx.TransportError:
            return False

    until(ping, 20, "a ping")
    assert time.monotonic() - started > 1.5
    # The very first request after it is answered at once.
    started = time.monotonic()
    assert_answers(server, model)
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"model.ubj": b"{L garbage"}, "is cut short or damaged"),
        ({"README.md": "nothing"}, "the archive holds no model file"),
        ({"model.ubj": b"{", "mme.toml": "mising = 1"}, "did you mean 'missing'"),
    ],
)
def test_a_model_that_cannot_be_loaded(make_model, tmp_path, files, reason):
    model = make_model("none", files=files)
    error = refused_to_start("--model", str(model.path))
    line = error.strip().splitlines()[-1]
    assert line.startswith("mme: the model cannot be loaded: ")
    assert reason in line


def test_a_killed_host_comes_back(make_server, make_model):
    model = make_model()
    server = make_server("--model", str(model.path), MME_HOSTS="1")
    assert_answers(server, model)
    os.kill(server.pids()["hosts"][0], signal.SIGKILL)
    until(lambda: invoke(server, csv_of(ROWS)).status_code == 200, 10, "an answer")
    assert_answers(server, model)
    assert server.process.poll() is None


def test_another_model_that_cannot_be_loaded_does_no_harm(make_server, make_model):
    model = make_model()
    server = make_server("--model", str(model.path), MME_HOSTS="1")
    other = make_model("none", files={"README.md": "nothing"})
    assert server.load("other", other.path)[0] == 500
    assert_answers(server, model)
    assert server.stop() == 0


def test_stopped_while_the_model_is_loaded(make_server, make_model):
    files = {"code/inference.py": SLOW.replace("1.5", "30")}
    server = make_server("--model", str(make_model(files=files).path), ready=False)
    until(lambda: server.pids()["isolated"], 20, "the process that loads")
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < 5
    assert not server.run_directory.exists()


@pytest.mark.parametrize("name", ["my,model", "mö del", "back\\slash"])
def test_a_path_that_mms_cannot_read(tmp_path, name):
    (tmp_path / name).mkdir()
    assert "use a path without commas" in refused_to_start("--model", str(tmp_path / name))


def test_a_path_with_spaces(make_server, make_model, tmp_path):
    model = make_model()
    (tmp_path / "my model=1").symlink_to(model.path)
    server = make_server("--model", str(tmp_path / "my model=1"), MME_HOSTS="1")
    assert_answers(server, model)


def test_batch_transform(make_server, make_model):
    """One prediction a line, whatever is accepted, and no more to ask for."""
    model = make_model()
    server = make_server("--model", str(model.path), SAGEMAKER_BATCH="true")
    response = invoke(server, csv_of(ROWS))
    assert response.headers["content-type"] == "text/csv"
    assert len(response.text.splitlines()) == 20
    assert response.text.endswith("\n")


def test_model_and_models_exclude_each_other(tmp_path):
    place = str(tmp_path)
    error = refused_to_start("--model", place, "--models", place)
    assert "--models or --model, not both" in error
