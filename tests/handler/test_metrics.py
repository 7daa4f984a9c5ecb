"""Counts are taken, added up and shown."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from mme_handler import metrics as module
from mme_handler.metrics import (
    LATENCY_BUCKETS,
    GpuUse,
    Invocations,
    LoadedModel,
    ServerMetrics,
)

GAUGES = {
    "mme_memory_budget_bytes": 1000.0,
    "mme_memory_used_bytes": 10.0,
    "mme_memory_measured_bytes": 9.0,
    "mme_models": 2.0,
    "mme_hosts": 1.0,
    "mme_isolated_workers": 0.0,
}


INFO = {
    "format": "ubj",
    "booster": "gbtree",
    "objective": "reg:squarederror",
    "features": 6,
    "classes": 0,
    "rounds": 25,
    "xgboost": "3.2.0",
}
MODELS = [LoadedModel("a", 5, INFO), LoadedModel("b", 6, {})]


@pytest.fixture
def metrics() -> ServerMetrics:
    metrics = ServerMetrics(lambda: GAUGES, lambda: MODELS)
    metrics.register()
    return metrics


def samples(metrics: ServerMetrics) -> dict[tuple, float]:
    """Every sample of the text that Prometheus reads, by name and labels."""
    text = generate_latest(metrics.registry).decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(name: str, **labels: str) -> tuple:
    return (name, *sorted(labels.items()))


def test_nothing_was_invoked():
    assert Invocations().take() is None


def test_take_hands_over_and_begins_again():
    counts = Invocations()
    counts.record(200, 0.0002, 10, 20)
    counts.record(400, 0.002, 1, 2)
    counts.record(200, 99, 0, 0)
    taken = counts.take()
    assert dict(taken["statuses"]) == {200: 2, 400: 1}
    assert (taken["bytes_in"], taken["bytes_out"]) == (11, 22)
    assert taken["seconds"] == pytest.approx(99.0022)
    assert sum(taken["buckets"]) == 3
    assert taken["buckets"][-1] == 1
    assert counts.take() is None


@pytest.mark.parametrize("index", range(len(LATENCY_BUCKETS)))
def test_a_bound_belongs_to_its_bucket(index):
    counts = Invocations()
    counts.record(200, LATENCY_BUCKETS[index], 0, 0)
    counts.record(200, LATENCY_BUCKETS[index] * 1.01, 0, 0)
    buckets = counts.take()["buckets"]
    assert (buckets[index], buckets[index + 1]) == (1, 1)


def test_counts_travel_as_json():
    counts = Invocations()
    counts.record(200, 0.1, 1, 2)
    taken = counts.take()
    assert orjson.loads(orjson.dumps(taken)) == taken


def test_the_servers_own(metrics):
    shown = samples(metrics)
    for name, value in GAUGES.items():
        assert shown[of(name)] == value
    assert shown[of("mme_model_memory_bytes", model="a")] == 5
    assert shown[of("mme_model_memory_bytes", model="b")] == 6
    labels = {name: str(value) for name, value in INFO.items() if name != "format"}
    assert shown[of("mme_model_info", model="a", **labels)] == 1
    assert len([key for key in shown if key[0] == "mme_model_info"]) == 1
    for kind in ("host", "isolated", "zygote"):
        assert shown[of("mme_restarts_total", kind=kind)] == 0
    metrics.restarts["host"] += 2
    assert samples(metrics)[of("mme_restarts_total", kind="host")] == 2


def test_loads(metrics):
    metrics.loaded("a", 200, 0.5)
    metrics.loaded("a", 507, 0.25)
    metrics.loaded("a", 507, 0.25)
    shown = samples(metrics)
    assert shown[of("mme_loads_total", model="a", status="200")] == 1
    assert shown[of("mme_loads_total", model="a", status="507")] == 2
    assert shown[of("mme_load_seconds_total", model="a")] == 1.0
    assert of("mme_request_bytes_total", model="a") not in shown  # never invoked


def test_invocations_add_up(metrics):
    counts = Invocations()
    for _ in range(2):
        counts.record(200, 0.0002, 10, 20)
        counts.record(507, 40, 1, 2)
        metrics.add("a", counts.take())
    shown = samples(metrics)
    assert shown[of("mme_invocations_total", model="a", status="200")] == 2
    assert shown[of("mme_invocations_total", model="a", status="507")] == 2
    assert shown[of("mme_request_bytes_total", model="a")] == 22
    assert shown[of("mme_response_bytes_total", model="a")] == 44
    assert shown[of("mme_model_last_used_timestamp_seconds", model="a")] > 1e9
    assert shown[of("mme_invocation_seconds_count", model="a")] == 4
    assert shown[of("mme_invocation_seconds_sum", model="a")] == pytest.approx(80.0004)
    assert shown[of("mme_invocation_seconds_bucket", model="a", le="0.0001")] == 0
    assert shown[of("mme_invocation_seconds_bucket", model="a", le="0.00025")] == 2
    assert shown[of("mme_invocation_seconds_bucket", model="a", le="30.0")] == 2
    assert shown[of("mme_invocation_seconds_bucket", model="a", le="+Inf")] == 4


@given(
    st.lists(
        st.tuples(st.sampled_from([200, 400, 507]), st.floats(0, 100), st.booleans()), max_size=30
    )
)
def test_it_does_not_matter_when_counts_are_taken(calls):
    at_once, often = (ServerMetrics(dict, list) for _ in range(2))
    one, other = Invocations(), Invocations()
    for status, seconds, take in calls:
        one.record(status, seconds, 3, 4)
        other.record(status, seconds, 3, 4)
        if take and (taken := other.take()):
            often.add("m", taken)
    for metrics, counts in ((at_once, one), (often, other)):
        if taken := counts.take():
            metrics.add("m", taken)
        metrics.register()
    shown, expected = samples(often), samples(at_once)
    last = of("mme_model_last_used_timestamp_seconds", model="m")
    for values in (shown, expected):
        values.pop(last, None)
    assert shown == pytest.approx(expected)


def test_refreshed_before_they_are_shown(metrics):
    counts = Invocations()

    def refresh() -> None:
        counts.record(200, 0.001, 1, 1)
        metrics.add("a", counts.take())

    metrics.refresh = refresh
    assert samples(metrics)[of("mme_invocations_total", model="a", status="200")] == 1
    assert samples(metrics)[of("mme_invocations_total", model="a", status="200")] == 2


@pytest.mark.parametrize("name", ['a"b', "back\\slash", "two\nlines", "ünï 模型", "x" * 500])
def test_odd_names(metrics, name):
    metrics.loaded(name, 200, 0.1)
    assert samples(metrics)[of("mme_loads_total", model=name, status="200")] == 1


def test_the_least_recently_active_models_are_forgotten(metrics, monkeypatch):
    monkeypatch.setattr(module, "_MOST_MODELS", 3)
    for name in "abcad":
        metrics.loaded(name, 200, 0.1)
    shown = {key[1][1] for key in samples(metrics) if key[0] == "mme_load_seconds_total"}
    assert shown == {"a", "c", "d"}


def test_gpus_only_where_there_are_any(metrics):
    assert not any("gpu" in name for name, *_ in samples(metrics))
    models = [LoadedModel("a", 5, INFO, 7), LoadedModel("b", 6, {}, 0)]
    with_gpus = ServerMetrics(
        lambda: GAUGES, lambda: models, lambda: [GpuUse(0, 10, 20, 100), GpuUse(1, 11, 21, 100)]
    )
    with_gpus.register()
    found = samples(with_gpus)
    assert found[of("mme_gpu_memory_used_bytes", gpu="0")] == 10
    assert found[of("mme_gpu_memory_charged_bytes", gpu="1")] == 21
    assert found[of("mme_gpu_memory_total_bytes", gpu="1")] == 100
    assert found[of("mme_model_gpu_memory_bytes", model="a")] == 7
    assert found[of("mme_model_gpu_memory_bytes", model="b")] == 0
