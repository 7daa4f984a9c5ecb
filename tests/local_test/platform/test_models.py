from __future__ import annotations

import asyncio
import random

import pytest

from mme_local.errors import ApiError
from support.local_platform import Machine, Platform, platform, record, variant
from support.scripted_containers import ScriptedRuntime

pytestmark = pytest.mark.anyio


def put(local: Platform, *names: str) -> None:
    for name in names:
        local.store.put(f"{name}.tar.gz")


async def use(local: Platform, *names: str) -> None:
    for name in names:
        assert await local.ask(f"{name}.tar.gz") == f"{name}.tar.gz 1"


async def test_the_least_recently_used_goes_when_there_is_no_room(
    local: Platform, runtime: ScriptedRuntime
) -> None:
    put(local, *"abcd")
    await local.deploy(record())
    runtime.script.capacity = 3
    await use(local, *"abcad")
    assert local.unloaded() == ["b.tar.gz"]
    await use(local, "b")
    assert local.unloaded() == ["b.tar.gz", "c.tar.gz"]


async def test_the_least_frequently_used_goes_if_that_is_asked_for(
    around: str, tmp_path, runtime: ScriptedRuntime
) -> None:
    async with platform(around, tmp_path, runtime, eviction="lfu") as local:
        put(local, *"abcd")
        await local.deploy(record())
        runtime.script.capacity = 3
        await use(local, *"aabccd")
        assert local.unloaded() == ["b.tar.gz"]  # a is the least recent


async def test_models_in_flight_are_never_unloaded(
    local: Platform, runtime: ScriptedRuntime
) -> None:
    put(local, *"abc")
    await local.deploy(record())
    runtime.script.capacity = 2
    await use(local, *"ab")
    runtime.script.invoke_seconds = 0.4
    slow = asyncio.create_task(local.ask("a.tar.gz"))  # a is older than b otherwise
    await asyncio.sleep(0.1)
    await use(local, "c")
    await slow
    assert local.unloaded() == ["b.tar.gz"]


async def test_a_load_waits_until_a_model_is_idle(
    local: Platform, runtime: ScriptedRuntime
) -> None:
    put(local, *"ab")
    await local.deploy(record())
    runtime.script.capacity = 1
    runtime.script.invoke_seconds = 0.3
    slow = asyncio.create_task(local.ask("a.tar.gz"))
    await asyncio.sleep(0.1)
    await use(local, "b")
    await slow
    assert local.unloaded() == ["a.tar.gz"]


async def test_what_does_not_fit_alone_is_the_clients_to_know(
    local: Platform, runtime: ScriptedRuntime
) -> None:
    put(local, "a")
    await local.deploy(record())
    runtime.script.capacity = 0
    with pytest.raises(ApiError) as caught:
        await local.ask("a.tar.gz")
    assert caught.value.fields["OriginalStatusCode"] == 507
    assert len(runtime.script.log) == 1


async def test_high_memory_makes_an_idle_model_go_before_a_load(
    around: str, tmp_path, runtime: ScriptedRuntime
) -> None:
    machine = Machine(memory=1000)
    async with platform(around, tmp_path, runtime, machine, poll_seconds=0.05) as local:
        put(local, *"abc")
        await local.deploy(record())
        runtime.script.memory = 940
        await use(local, *"ab")
        runtime.script.memory = 960
        await asyncio.sleep(0.2)
        await use(local, "c")
        assert local.unloaded() == ["a.tar.gz"]


async def test_a_model_that_cannot_be_unloaded_stays_and_another_goes(
    local: Platform, runtime: ScriptedRuntime
) -> None:
    put(local, *"ab")
    await local.deploy(record())
    await use(local, "a")
    runtime.script.capacity = 1
    runtime.script.unload_status = 500
    asking = asyncio.create_task(local.ask("b.tar.gz"))
    await asyncio.sleep(0.3)
    runtime.script.unload_status = 0
    assert await asking == "b.tar.gz 1"
    assert local.unloaded() == ["a.tar.gz"]


async def test_without_a_cache_models_and_archives_go_after_each_use(
    local: Platform, runtime: ScriptedRuntime
) -> None:
    put(local, "a")
    await local.deploy(record(variant(cache=False)))
    await use(local, "a")
    for _ in range(100):
        if local.unloaded():
            break
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.1)
    assert runtime.containers[0].loaded == {}
    assert list((runtime.containers[0].spec.ml / "models").iterdir()) == []
    await asyncio.gather(*(use(local, "a") for _ in range(20)))


async def test_a_404_of_the_models_own_code_is_its_answer(
    local: Platform, runtime: ScriptedRuntime
) -> None:
    """The model stays loaded, and known, or it could never be unloaded for another."""
    put(local, "a")
    await local.deploy(record())
    runtime.script.invoke_status = 404
    with pytest.raises(ApiError) as caught:
        await local.ask("a.tar.gz")
    assert caught.value.fields["OriginalStatusCode"] == 404
    (instance,) = local.manager.find("houses").variants["AllTraffic"].instances
    assert [model.target for model in instance.models.loaded] == ["a.tar.gz"]
    assert len(runtime.containers[0].requests) == 1


async def test_without_a_cache_a_load_that_fails_leaves_nothing(
    local: Platform, runtime: ScriptedRuntime
) -> None:
    put(local, "a")
    await local.deploy(record(variant(cache=False)))
    for status, target in ((500, "a.tar.gz"), (200, "missing.tar.gz")):
        runtime.script.load_status = status
        with pytest.raises(ApiError):
            await local.ask(target)
    await asyncio.sleep(0.1)
    (instance,) = local.manager.find("houses").variants["AllTraffic"].instances
    assert instance.models._models == {}
    assert list((runtime.containers[0].spec.ml / "models").iterdir()) == []


async def zipf(local: Platform, models: int, requests: int, at_once: int, seed: int) -> None:
    """Many requests, a few at a time, most of them for few models."""
    chance = random.Random(seed)
    weights = [1 / (rank + 1) for rank in range(models)]
    chosen = iter(chance.choices(range(models), weights, k=requests))

    async def client() -> None:
        for number in chosen:
            target = f"{number}.tar.gz"
            assert await local.ask(target, b"7") == f"{target} 7"

    await asyncio.gather(*(client() for _ in range(at_once)))


async def test_the_cache_adds_up_under_pressure(local: Platform, runtime: ScriptedRuntime) -> None:
    put(local, *map(str, range(15)))
    await local.deploy(record())
    runtime.script.capacity = 5
    await zipf(local, 15, 150, at_once=6, seed=1)
    variant_now = local.manager.find("houses").variants["AllTraffic"]
    models = variant_now.instances[0].models
    assert variant_now.hits + variant_now.misses == 150
    assert models.loads - models.unloads == len(models.loaded)
    held = {model.name for model in models.loaded}
    assert held == set(runtime.containers[0].loaded)


async def test_the_same_seed_gives_the_same_evictions(around: str, tmp_path) -> None:
    evictions = []
    for turn in range(2):
        runtime = ScriptedRuntime()
        runtime.script.capacity = 3
        async with platform(around, tmp_path / str(turn), runtime) as local:
            put(local, *map(str, range(8)))
            await local.deploy(record())
            await zipf(local, 8, 40, at_once=1, seed=3)
            evictions.append(local.unloaded())
    assert evictions[0] == evictions[1]
    assert len(evictions[0]) > 10
