"""The platform around the real ``mme serve``, as a client of AWS would meet it."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

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
from support.serving import csv_of, make_rows

pytestmark = pytest.mark.anyio

ROW = csv_of(make_rows(1, 5)[:1])
SEEDS = 4
SLEEPY = b"""
import time

def transform_fn(model, data, content_type, accept):
    time.sleep(0.2)
    return "slept", "text/plain"
"""


def model(seed: int = 0, **files: bytes) -> bytes:
    """A model's archive; `files` are others in it, with ``__`` for ``/`` and ``_`` for a dot."""
    content = {"model.ubj": bytes(archives.booster(seed).save_raw("ubj")), **files}
    return archive_of(content)


def expected(seed: int = 0) -> float:
    import xgboost as xgb

    return float(archives.booster(seed).predict(xgb.DMatrix(make_rows(1, 5)[:1]))[0])


def score(text: str) -> float:
    return float(json.loads(text)["predictions"][0]["score"])


async def zipf(
    local: Platform, targets: Sequence[str], requests: int, at_once: int, seed: int
) -> list[float]:
    """Many requests, most of them for few models; checks every answer."""
    chance = random.Random(seed)
    weights = [1 / (rank + 1) for rank in range(len(targets))]
    chosen = iter(chance.choices(range(len(targets)), weights, k=requests))
    right = [expected(number) for number in range(SEEDS)]

    async def client() -> None:
        for number in chosen:
            answer = score(await local.ask(targets[number], ROW))
            assert answer == pytest.approx(right[number % SEEDS])

    await asyncio.gather(*(client() for _ in range(at_once)))
    return right


async def put_many(local: Platform, count: int, memory: str) -> list[str]:
    """Models that say how much memory they are to be charged with."""
    settings = f'memory = "{memory}"\n'.encode()
    bodies = [
        archive_of(
            {
                "model.ubj": bytes(archives.booster(seed).save_raw("ubj")),
                "mme.toml": settings,
            }
        )
        for seed in range(SEEDS)
    ]
    return [
        await asyncio.to_thread(local.store.put, f"city/{n}.tar.gz", bodies[n % SEEDS])
        for n in range(count)
    ]


async def soak(
    around: str, run: Path, models: int, requests: int, at_once: int, memory: int
) -> tuple[Platform, list[str]]:
    machine = Machine(memory=memory)
    async with platform(around, run, ServeRuntime(), machine, poll_seconds=5) as local:
        local.context.metrics.start()
        local.context.logs.start()
        targets = await put_many(local, models, "20m")
        await local.deploy(record())
        await zipf(local, targets, requests, at_once, seed=11)
        serving = local.manager.find("houses").variants["AllTraffic"]
        held = serving.instances[0].models
        print(
            f"{requests} requests, {serving.hits} hits, {held.loads} loads, "
            f"{held.unloads} unloads, {len(held.loaded)} loaded; "
            f"{local.manager.snapshot()[0]['variants'][0]['latency_ms']}"
        )
        assert serving.hits + serving.misses == requests
        assert held.loads - held.unloads == len(held.loaded)
        await local.context.metrics.flush()
        assert not local.kinds("instance failed")
    return local, local.unloaded()
