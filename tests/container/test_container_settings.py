"""What SageMaker tells a container by its environment, and a single model."""

from __future__ import annotations

import re

import pytest

from support.container import Container, assert_answers
from support.models import csv_of, json_of, make_rows

pytestmark = pytest.mark.container

ROWS = make_rows(10, seed=9)


def scores(container: Container, body: bytes, content_type: str = "text/csv") -> list[float]:
    headers = {"content-type": content_type, "accept": "application/json"}
    response = container.send("POST", "/invocations", body, headers)
    assert response.status_code == 200, response.text
    return [row["score"] for row in response.json()["predictions"]]


def single(model) -> dict:
    return {str(model.path): {"bind": "/opt/ml/model", "mode": "ro"}}


def test_another_port(serve, make_model):
    container = serve({"SAGEMAKER_BIND_TO_PORT": "9191"}, port=9191)
    assert "mme ready on port 9191: " in container.log_text()
    model = container.add(make_model())
    assert_answers(container, model, ROWS)


def test_the_range_of_ports_that_are_safe(serve, make_model):
    """In a pipeline, containers share a network: no other port is taken."""
    container = serve(
        {"SAGEMAKER_BIND_TO_PORT": "25000", "SAGEMAKER_SAFE_PORT_RANGE": "25000-25009"},
        port=25000,
    )
    ready = re.search(r"metrics on port (\d+)", container.log_text())
    assert 25_000 < int(ready[1]) <= 25_009
    model = container.add(make_model())
    assert_answers(container, model, ROWS)
    # Ports that something listens on, but for 127.0.0.1; all in hexadecimal.
    tables = container.run_inside("sh", "-c", "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null")
    listening = re.findall(r": (\w+):(\w{4}) \w+:\w{4} 0A", tables)
    reachable = {int(port, 16) for address, port in listening if not address.endswith("0100007F")}
    assert reachable == {25_000, int(ready[1])}


def test_a_single_model(run, make_model):
    """Where SAGEMAKER_MULTI_MODEL is not set, the model is at /opt/ml/model."""
    model = make_model()
    container = run("serve", volumes=single(model)).wait_ready()
    expected = pytest.approx(model.predict(ROWS).tolist(), rel=1e-6)
    assert scores(container, csv_of(ROWS)) == expected
    assert scores(container, json_of(ROWS), "application/json") == expected
    assert container.stop() == 0


def test_a_batch_transform(run, make_model):
    model = make_model()
    container = run("serve", volumes=single(model), environment={"SAGEMAKER_BATCH": "true"})
    container.wait_ready()
    headers = {"content-type": "text/csv"}
    answer = container.send("POST", "/invocations", csv_of(ROWS), headers)
    assert answer.headers["content-type"] == "text/csv"
    assert len(answer.text.splitlines()) == len(ROWS)


def test_a_single_model_that_cannot_be_loaded(run, make_model):
    model = make_model("none", files={"README.md": "nothing"})
    container = run("serve", volumes=single(model))
    assert container.wait(60) == 2
    assert "the archive holds no model file" in container.log_text()


def test_settings_arrive(serve, make_model):
    container = serve(
        {"SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "text/csv", "SAGEMAKER_MAX_PAYLOAD_IN_MB": "1"}
    )
    model = container.add(make_model())
    answer = container.invoke(model.name, csv_of(ROWS), accept="*/*")
    assert answer.headers["content-type"] == "text/csv"
    headers = {"content-type": "text/csv", "expect": "100-continue"}
    path = f"/models/{model.name}/invoke"
    too_large = b"1,2,3,4,5,6\n" * 100_000
    assert container.send("POST", path, too_large, headers).status_code == 413
