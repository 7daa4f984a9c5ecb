"""What a server measures, and what it logs of its models."""

from __future__ import annotations

import json
import time

import xgboost as xgb

from support.models import csv_of, make_rows
from support.serving import Server, until

ROWS = make_rows(40, seed=11)


def test_metrics(server, make_model):
    before = time.time()
    plain, own = (
        server.add(make_model()),
        server.add(make_model(files={"code/inference.py": "def output_fn(p, a): return 'x'\n"})),
    )
    missing = make_model("none")
    assert server.load(missing.name, missing.path)[0] == 500
    body = csv_of(ROWS)
    answers = [server.invoke(plain.name, body) for _ in range(3)]
    server.invoke(plain.name, b"1,2,3")
    server.invoke(own.name, body)
    until(lambda: server.metric("mme_models") == 2)
    metrics = server.metrics()

    def value(name: str, **labels: str) -> float:
        (found,) = [v for have, v in metrics[name] if labels.items() <= have.items()]
        return found

    assert value("mme_loads_total", model=plain.name, status="200") == 1
    assert value("mme_loads_total", model=missing.name, status="500") == 1
    assert 0 < value("mme_load_seconds_total", model=plain.name) < 5
    assert value("mme_invocations_total", model=plain.name, status="200") == 3
    assert value("mme_invocations_total", model=plain.name, status="400") == 1
    assert value("mme_invocations_total", model=own.name, status="200") == 1
    assert value("mme_invocation_seconds_count", model=plain.name) == 4
    assert value("mme_invocation_seconds_bucket", model=plain.name, le="+Inf") == 4
    assert 0 < value("mme_invocation_seconds_sum", model=plain.name) < 5
    assert value("mme_request_bytes_total", model=plain.name) == 3 * len(body) + 5
    assert value("mme_response_bytes_total", model=plain.name) > sum(
        len(a.content) for a in answers
    )
    last = value("mme_model_last_used_timestamp_seconds", model=plain.name)
    assert before <= last <= time.time()
    assert 100_000 < value("mme_model_memory_bytes", model=plain.name) < 5_000_000
    assert 1_000_000 < value("mme_model_memory_bytes", model=own.name) < 50_000_000
    assert value("mme_models") == 2
    assert value("mme_hosts") == len(server.pids()["hosts"])
    assert value("mme_isolated_workers") == 1
    budget, used = value("mme_memory_budget_bytes"), value("mme_memory_used_bytes")
    assert 0 < value("mme_memory_measured_bytes") < budget
    assert 0 < used < budget
    for kind in ("host", "isolated", "zygote"):
        assert value("mme_restarts_total", kind=kind) >= 0
    server.unload(plain.name)
    server.unload(own.name)
    until(lambda: server.metric("mme_models") == 0)
    # What a model has done is remembered; what it takes is not.
    assert server.metric("mme_invocations_total", model=plain.name) == 4
    until(lambda: server.metric("mme_invocations_total", model=own.name) == 1)
    assert all(labels["model"] != plain.name for labels, _ in _samples(server))
    assert server.metric("mme_memory_used_bytes") < used


def test_one_log_line_for_a_load_an_unload_and_a_failure(server, make_model):
    start = len(server.log_text().splitlines())
    model = server.add(make_model())
    target = "houses/berlin.tar.gz"
    for _ in range(20):
        assert server.client.get("/ping").status_code == 200
        server.client.get("/models")
        server.invoke(model.name, csv_of(ROWS), headers={"x-amzn-sagemaker-target-model": target})
    refused = server.invoke(model.name, b"1,2", headers={"x-amzn-sagemaker-target-model": target})
    assert refused.status_code == 400
    server.unload(model.name)
    server.wait_log(event="unloaded", model=model.name)
    lines = [json.loads(line) for line in server.log_text().splitlines()[start:]]
    assert [line["event"] for line in lines] == ["loaded", "invocation refused", "unloaded"]
    assert {line["model"] for line in lines} == {model.name}
    loaded, failed, _ = lines
    assert loaded["home"] == "shared"
    assert loaded["pid"] in server.pids()["hosts"]
    assert (loaded["format"], loaded["features"], loaded["rounds"]) == ("ubj", 6, 25)
    assert (loaded["objective"], loaded["classes"]) == ("reg:squarederror", 0)
    assert loaded["xgboost"] == xgb.__version__
    assert loaded["bytes"] == model.file.stat().st_size
    assert loaded["milliseconds"] > 0
    assert loaded["memory"] > 0
    assert failed["target_model"] == target
    assert failed["request_id"] == refused.headers["x-request-id"]
    assert failed["status"] == 400
    assert failed["reason"] == "line 1: got 2 values, the model takes 6"
    assert failed["level"] == "warning"
    assert all(line["timestamp"].endswith("Z") for line in lines)


def _samples(server: Server) -> list:
    return server.metrics().get("mme_model_memory_bytes", [])
