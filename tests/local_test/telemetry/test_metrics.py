from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mme_local.aws.clients import Clients
from mme_local.telemetry.endpoint_metrics import VariantMetrics
from mme_local.telemetry.metrics import INSTANCES, INVOCATIONS, Metrics

pytestmark = pytest.mark.anyio

DIMENSIONS = {"EndpointName": "houses", "VariantName": "AllTraffic"}


def read(
    clients: Clients,
    name: str,
    stat: str,
    namespace: str = INVOCATIONS,
    unit: str | None = None,
    dimensions: dict[str, str] = DIMENSIONS,
) -> float | None:
    """One statistic of the last minutes, as ``get_metric_data`` has it."""
    metric: dict[str, Any] = {
        "Metric": {
            "Namespace": namespace,
            "MetricName": name,
            "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
        },
        "Period": 600,
        "Stat": stat,
    }
    if unit:
        metric["Unit"] = unit
    now = datetime.now(UTC)
    answer = clients.client("cloudwatch").get_metric_data(
        MetricDataQueries=[{"Id": "one", "MetricStat": metric}],
        StartTime=now - timedelta(seconds=300),
        EndTime=now + timedelta(seconds=60),
    )
    values = answer["MetricDataResults"][0]["Values"]
    return values[0] if values else None


async def test_statistics_come_back_as_of_single_values(clients: Clients) -> None:
    metrics = Metrics(clients)
    for batch in ([3, 5, 1], [11]):
        for value in batch:
            metrics.put("Mine", "Size", {"Of": "it"}, value, "Bytes")
        await metrics.flush()
    expected = {"Sum": 20, "SampleCount": 4, "Average": 5, "Minimum": 1, "Maximum": 11}
    for stat, value in expected.items():
        assert read(clients, "Size", stat, "Mine", "Bytes", {"Of": "it"}) == value


async def test_metrics_are_sent_once_a_second_and_at_the_end(clients: Clients) -> None:
    metrics = Metrics(clients)
    metrics.start()
    metrics.put("Mine", "Size", {"Of": "it"}, 1)
    async with asyncio.timeout(10):
        while read(clients, "Size", "Sum", "Mine", dimensions={"Of": "it"}) is None:
            await asyncio.sleep(0.1)
    metrics.put("Mine", "Size", {"Of": "it"}, 2)
    await metrics.close()
    assert read(clients, "Size", "Sum", "Mine", dimensions={"Of": "it"}) == 3


async def test_many_metrics_are_sent_in_several_calls(clients: Clients) -> None:
    metrics = Metrics(clients)
    for number in range(1100):
        metrics.put("Mine", "Size", {"Of": str(number)}, number)
    await metrics.flush()
    for number in (0, 499, 500, 1099):
        assert read(clients, "Size", "Sum", "Mine", dimensions={"Of": str(number)}) == number


async def test_an_aws_that_does_not_answer_is_no_outage(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics(Clients("http://127.0.0.1:9", "us-east-1"))
    metrics.put("Mine", "Size", {}, 1)
    await metrics.flush()
    assert "1 metrics could not be sent" in caplog.text


async def test_a_variants_metrics_have_awss_names_units_and_dimensions(clients: Clients) -> None:
    metrics = Metrics(clients)
    variant = VariantMetrics(metrics, "houses", "AllTraffic")
    variant.cache_hit(True)
    variant.cache_hit(True)
    variant.cache_hit(False)
    variant.waited_for_load(0.25)
    variant.downloaded(0.1)
    variant.loaded(0.15)
    variant.unloaded(0.05)
    variant.invoked(2, total=0.3, model=0.02, status=200, model_error=False)
    variant.invoked(2, total=0.1, model=0.04, status=400, model_error=True)
    variant.invoked(2, total=0.1, model=0.0, status=503, model_error=False)
    variant.instance(3, cpu=1.5, memory=0.25, disk=0.5)
    await metrics.flush()

    def of(name: str, stat: str, unit: str, namespace: str = INVOCATIONS) -> float | None:
        return read(clients, name, stat, namespace, unit)

    assert of("ModelCacheHit", "Average", "None") == pytest.approx(2 / 3)
    assert of("ModelCacheHit", "SampleCount", "None") == 3
    assert of("ModelLoadingWaitTime", "Sum", "Microseconds") == 250_000
    assert of("ModelDownloadingTime", "Sum", "Microseconds") == 100_000
    assert of("ModelLoadingTime", "Sum", "Microseconds") == 150_000
    assert of("ModelUnloadingTime", "Sum", "Microseconds") == 50_000
    assert of("Invocations", "Sum", "None") == 3
    assert of("InvocationsPerInstance", "Sum", "None") == 1.5
    assert of("Invocation4XXErrors", "Sum", "None") == 1
    assert of("Invocation5XXErrors", "Sum", "None") == 1
    assert of("InvocationModelErrors", "Average", "None") == pytest.approx(1 / 3)
    assert of("ModelLatency", "Average", "Microseconds") == pytest.approx(30_000)
    assert of("OverheadLatency", "Sum", "Microseconds") == pytest.approx(440_000)
    assert of("LoadedModelCount", "Average", "None", INSTANCES) == 3
    assert of("CPUUtilization", "Maximum", "Percent", INSTANCES) == 150
    assert of("MemoryUtilization", "Maximum", "Percent", INSTANCES) == 25
    assert of("DiskUtilization", "Maximum", "Percent", INSTANCES) == 50
