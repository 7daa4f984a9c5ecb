"""The platform around the real ``mme serve``, as a client of AWS would meet it."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import xgboost as xgb

from mme_local.errors import ApiError
from support import archives
from support.local_platform import (
    Machine,
    Platform,
    ServeRuntime,
    archive_of,
    config,
    platform,
    record,
    variant,
)
from support.models import csv_of, make_rows

pytestmark = pytest.mark.anyio

ROWS = make_rows(1, 5)
BODY = csv_of(ROWS)
SEEDS = 4
HOLDS_ABOUT_30 = 1 << 30  # bytes, of models that say 20 MiB
REQUESTS = 20_000


def model(seed: int = 0, files: dict[str, bytes] | None = None) -> bytes:
    """A model's archive."""
    return archive_of({"model.ubj": bytes(archives.booster(seed).save_raw("ubj")), **(files or {})})


def expected(seed: int = 0) -> float:
    """What XGBoost itself predicts."""
    return float(archives.booster(seed).predict(xgb.DMatrix(ROWS))[0])


def score(text: str) -> float:
    return float(json.loads(text)["predictions"][0]["score"])


@dataclass
class Traffic:
    """What clients have met until now."""

    answers: int = 0
    errors: list[ApiError] = field(default_factory=list)

    async def more(self, answers: int, within: float = 60) -> None:
        """Wait for that many answers from now on."""
        wanted = self.answers + answers
        async with asyncio.timeout(within):
            while self.answers < wanted:
                await asyncio.sleep(0.05)


@asynccontextmanager
async def traffic(local: Platform, target: str | None) -> AsyncIterator[Traffic]:
    """Four clients that ask all the time."""
    met = Traffic()
    stopping = asyncio.Event()

    async def client() -> None:
        while not stopping.is_set():
            try:
                assert score(await local.ask(target, BODY)) == pytest.approx(expected())
                met.answers += 1
            except ApiError as error:
                met.errors.append(error)
            await asyncio.sleep(0.01)

    clients = [asyncio.create_task(client()) for _ in range(4)]
    try:
        yield met
    finally:
        stopping.set()
        await asyncio.gather(*clients)


async def zipf(
    local: Platform, targets: Sequence[str], requests: int, at_once: int, seed: int
) -> None:
    """Many requests, most of them for few models; checks every answer."""
    chance = random.Random(seed)
    weights = [1 / (rank + 1) for rank in range(len(targets))]
    chosen = iter(chance.choices(range(len(targets)), weights, k=requests))
    right = [expected(number) for number in range(SEEDS)]

    async def client() -> None:
        for number in chosen:
            answer = score(await local.ask(targets[number], BODY))
            assert answer == pytest.approx(right[number % SEEDS])

    await asyncio.gather(*(client() for _ in range(at_once)))


async def put_many(local: Platform, count: int) -> list[str]:
    """Models that say how much memory they are to be charged with."""
    settings = {"mme.toml": b'memory = "20m"\n'}
    bodies = [model(seed, settings) for seed in range(SEEDS)]
    return [
        await asyncio.to_thread(local.store.put, f"city/{n}.tar.gz", bodies[n % SEEDS])
        for n in range(count)
    ]


def metric(local: Platform, name: str, stat: str) -> float:
    """A metric of this test, from CloudWatch."""
    dimensions = [
        {"Name": "EndpointName", "Value": "houses"},
        {"Name": "VariantName", "Value": "AllTraffic"},
    ]
    query = {
        "Metric": {"Namespace": "AWS/SageMaker", "MetricName": name, "Dimensions": dimensions},
        "Period": 36_000,
        "Stat": stat,
    }
    now = datetime.now(UTC)
    answer = local.context.clients.client("cloudwatch").get_metric_data(
        MetricDataQueries=[{"Id": "one", "MetricStat": query}],
        StartTime=now - timedelta(hours=5),
        EndTime=now + timedelta(minutes=1),
    )
    return float(answer["MetricDataResults"][0]["Values"][0])


# -- One model, many models -----------------------------------------------------------------------


async def test_models_answer_as_xgboost_does(around: str, tmp_path: Path) -> None:
    async with platform(around, tmp_path, ServeRuntime()) as local:
        local.store.put("one.tar.gz", model(1))
        local.store.put("empty.tar.gz", archive_of({"readme.txt": b"no model"}))
        await local.deploy(record())
        for _ in range(2):
            assert score(await local.ask("one.tar.gz", BODY)) == pytest.approx(expected(1))
        with pytest.raises(ApiError) as caught:
            await local.ask("one.tar.gz", b"not,a,number")
        assert caught.value.code == "ModelError"
        assert caught.value.fields["OriginalStatusCode"] in {400, 415, 503}
        with pytest.raises(ApiError) as caught:
            await local.ask("empty.tar.gz", BODY)
        assert caught.value.code == "ModelError"
        with pytest.raises(ApiError) as caught:
            await local.ask("one.tar.gz", bytes(25 << 20))
        assert caught.value.fields["OriginalStatusCode"] == 413
        await local.context.metrics.flush()
        assert metric(local, "ModelCacheHit", "SampleCount") == 5
        assert metric(local, "ModelCacheHit", "Sum") == 3
        await local.context.logs.flush()
        instance = local.manager.find("houses").variants["AllTraffic"].instances[0]
        events = local.context.clients.client("logs").get_log_events(
            logGroupName="/aws/sagemaker/Endpoints/houses",
            logStreamName=f"AllTraffic/{instance.id}",
        )["events"]
        assert any("mme ready" in event["message"] for event in events)


async def test_an_endpoint_with_one_model(around: str, tmp_path: Path) -> None:
    async with platform(around, tmp_path, ServeRuntime()) as local:
        local.store.put("one.tar.gz", model(2), prefix="")
        await local.deploy(record(variant(url="s3://models/one.tar.gz", many=False)))
        assert score(await local.ask(None, BODY)) == pytest.approx(expected(2))


# -- Under traffic --------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_server_killed_under_traffic_is_replaced(around: str, tmp_path: Path) -> None:
    runtime = ServeRuntime()
    async with platform(around, tmp_path, runtime) as local:
        local.store.put("one.tar.gz", model())
        await local.deploy(record())
        async with traffic(local, "one.tar.gz") as met:
            await met.more(50)
            runtime.containers[0].kill()
            await met.more(50)
        assert met.errors == []
        assert len(local.kinds("instance failed")) == 1


@pytest.mark.slow
async def test_an_update_under_traffic_drops_nothing(around: str, tmp_path: Path) -> None:
    async with platform(around, tmp_path, ServeRuntime()) as local:
        local.store.put("one.tar.gz", model())
        endpoint = await local.deploy(record())
        async with traffic(local, "one.tar.gz") as met:
            await met.more(50)
            await local.manager.update(endpoint, config(variant(count=2), name="second"))
            await local.settle(endpoint)
            await met.more(50)
        assert met.errors == []
        assert endpoint.config.name == "second"


# -- More models than memory ----------------------------------------------------------------------


@pytest.mark.slow
async def test_a_hundred_models_where_thirty_fit(around: str, tmp_path: Path) -> None:
    machine = Machine(memory=HOLDS_ABOUT_30)
    async with platform(around, tmp_path, ServeRuntime(), machine, poll_seconds=5) as local:
        local.context.metrics.start()
        targets = await put_many(local, 100)
        await local.deploy(record())
        await zipf(local, targets, REQUESTS, at_once=8, seed=11)
        serving = local.manager.find("houses").variants["AllTraffic"]
        held = serving.instances[0].models
        assert 20 <= len(held.loaded) <= 40
        assert serving.hits + serving.misses == REQUESTS
        assert held.loads - held.unloads == len(held.loaded)
        await local.context.metrics.flush()
        assert metric(local, "ModelCacheHit", "SampleCount") == REQUESTS
        assert metric(local, "ModelCacheHit", "Sum") == serving.hits
        assert metric(local, "ModelLoadingTime", "SampleCount") == held.loads
        assert metric(local, "ModelUnloadingTime", "SampleCount") == held.unloads
        assert metric(local, "Invocations", "Sum") == REQUESTS
        assert metric(local, "InvocationModelErrors", "Sum") == 0
        assert not local.kinds("instance failed")


@pytest.mark.slow
async def test_the_same_requests_give_the_same_evictions(around: str, tmp_path: Path) -> None:
    evictions = []
    for turn in ("first", "second"):
        machine = Machine(memory=HOLDS_ABOUT_30)
        async with platform(around, tmp_path / turn, ServeRuntime(), machine) as local:
            targets = await put_many(local, 60)
            await local.deploy(record())
            await zipf(local, targets, 300, at_once=1, seed=3)
            evictions.append(local.unloaded())
    assert evictions[0] == evictions[1]
    assert len(evictions[0]) > 20
