"""What is played is what the local SageMaker does, which unloads the least recently used too."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from mme_hosting.fit.simulate import play
from mme_hosting.fit.traffic import zipf_shares
from support import archives, aws
from support.local_platform import (
    Machine,
    Platform,
    ServeRuntime,
    archive_of,
    platform,
    record,
    variant,
)
from support.models import csv_of, make_rows
from support.scripted_containers import ScriptedRuntime

pytestmark = pytest.mark.anyio

MODELS = 40
BODY = csv_of(make_rows(1, 5))


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def around() -> Iterator[str]:
    with aws.aws() as endpoint:
        yield endpoint


def requests(count: int, seed: int) -> list[int]:
    """Models by Zipf's law."""
    import numpy as np

    shares = zipf_shares(MODELS, 0.8)
    return np.random.default_rng(seed).choice(MODELS, count, p=shares).tolist()


async def counted(local: Platform, trace: list[int], content: bytes | None) -> tuple[int, int]:
    """Hits as SageMaker counts them, and how many models it has loaded in the end."""
    targets = [
        await asyncio.to_thread(local.store.put, f"{number}.tar.gz", content)
        for number in range(MODELS)
    ]
    await local.deploy(record(variant()))
    for number in trace:
        await local.ask(targets[number], BODY)
    serving = local.manager.find("houses").variants["AllTraffic"]
    assert serving.hits + serving.misses == len(trace)
    return serving.hits, len(serving.instances[0].models.loaded)


@pytest.mark.parametrize("capacity", [1, 7, 25])
async def test_hits_are_those_of_the_platform(around: str, tmp_path: Path, capacity: int) -> None:
    aws.reset(around)
    trace = requests(400, seed=capacity)
    runtime = ScriptedRuntime()
    runtime.script.capacity = capacity
    async with platform(around, tmp_path, runtime) as local:
        hits, loaded = await counted(local, trace, None)
    assert loaded == capacity
    assert play(trace, [1] * MODELS, capacity).hits == hits


@pytest.mark.slow
async def test_hits_are_those_of_real_servers(around: str, tmp_path: Path) -> None:
    aws.reset(around)
    trace = requests(400, seed=1)
    says_20 = archive_of(
        {
            "model.ubj": bytes(archives.booster(0).save_raw("ubj")),
            "mme.toml": b'memory = "20m"\n',
        }
    )
    machine = Machine(memory=3 << 28)
    async with platform(around, tmp_path, ServeRuntime(), machine, memory_high=1) as local:
        hits, loaded = await counted(local, trace, says_20)
    assert 5 < loaded < MODELS
    assert play(trace, [1] * MODELS, loaded).hits == hits
