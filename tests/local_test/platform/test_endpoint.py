from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from mme_local.containers.instance_types import InstanceType
from mme_local.control.records import EndpointRecord
from mme_local.errors import ApiError, LocalError
from support.local_platform import (
    Platform,
    archive_of,
    config,
    platform,
    record,
    variant,
)
from support.scripted_containers import ScriptedRuntime

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def traffic(local: Platform, target: str | None = "a.tar.gz") -> AsyncIterator[list[Any]]:
    """Six clients that ask all the time; yields what went wrong, and checks that something ran."""
    wrong: list[Any] = []
    answered = 0
    stopping = asyncio.Event()

    async def client() -> None:
        nonlocal answered
        while not stopping.is_set():
            try:
                await local.ask(target)
                answered += 1
            except ApiError as error:
                wrong.append(error)
            await asyncio.sleep(0.005)

    clients = [asyncio.create_task(client()) for _ in range(6)]
    try:
        yield wrong
    finally:
        stopping.set()
        await asyncio.gather(*clients)
    assert answered > 10


def instances(local: Platform, name: str = "AllTraffic") -> list[Any]:
    return local.manager.find("houses").variants[name].instances


async def wait_for(condition: Any, within: float = 20) -> None:
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.02)


# -- From Creating to InService, or Failed --------------------------------------------------------


async def test_an_endpoint_comes_into_service(local: Platform, runtime: ScriptedRuntime) -> None:
    endpoint = record(variant(count=2, environment={"MINE": "1"}))
    await local.manager.create(endpoint)
    assert endpoint.status == "Creating"
    await local.settle(endpoint)
    assert endpoint.status == "InService"
    assert endpoint.variants["AllTraffic"].current_count == 2
    assert endpoint.variants["AllTraffic"].desired_count == 2
    specs = [container.spec for container in runtime.containers]
    assert len({spec.name for spec in specs}) == len({spec.ml for spec in specs}) == 2
    assert specs[0].command == "serve"
    assert dict(specs[0].environment) == {
        "MINE": "1",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "SAGEMAKER_MULTI_MODEL": "true",
        "SAGEMAKER_SAFE_PORT_RANGE": "25000-25999",
    }


@pytest.mark.parametrize("fault", ["never_ready", "end_at_once", "models_status"])
async def test_a_container_that_is_not_healthy_fails_the_endpoint(
    local: Platform, runtime: ScriptedRuntime, fault: str
) -> None:
    setattr(runtime.script, fault, 404 if fault == "models_status" else True)
    endpoint = record(variant(startup=1.0))
    await local.manager.create(endpoint)
    await local.settle(endpoint)
    assert endpoint.status == "Failed"
    assert endpoint.failure_reason == (
        "The primary container for production variant AllTraffic did not pass the ping health "
        "check. Please check CloudWatch logs for this endpoint."
    )
    await local.manager.delete("houses")
    assert local.manager.find("houses") is None
    assert list((local.context.run / "endpoints").iterdir()) == []


async def test_one_variant_that_fails_ends_the_others(
    local: Platform, runtime: ScriptedRuntime
) -> None:
    one = variant("Single", url="s3://models/none.tar.gz", many=False)
    endpoint = record(variant("Many"), one)
    await local.manager.create(endpoint)
    await local.settle(endpoint)
    assert endpoint.status == "Failed"
    assert endpoint.failure_reason == (
        'Failed to download model data for container "container_1" from URL: '
        '"s3://models/none.tar.gz". Please ensure that there is an object located at the URL and '
        "that the role passed to CreateModel has permissions to download the object."
    )
    assert all([await container.usage() is None for container in runtime.containers])


async def test_a_single_model_that_is_no_archive_fails_the_endpoint(local: Platform) -> None:
    local.store.put("one.tar.gz", b"no archive", prefix="")
    endpoint = record(variant(url="s3://models/one.tar.gz", many=False))
    await local.manager.create(endpoint)
    await local.settle(endpoint)
    assert endpoint.failure_reason.startswith(
        'Failed to extract model data archive for container "container_1" from URL '
        '"s3://models/one.tar.gz": it is no tar.gz archive'
    )


async def test_a_single_model_is_there_before_its_container(
    local: Platform, runtime: ScriptedRuntime
) -> None:
    local.store.put("one.tar.gz", archive_of({"model.txt": b"one"}), prefix="")
    await local.deploy(record(variant(url="s3://models/one.tar.gz", many=False)))
    assert (runtime.containers[0].spec.ml / "model" / "model.txt").read_text() == "one"
    assert "SAGEMAKER_MULTI_MODEL" not in runtime.containers[0].spec.environment
    assert await local.ask(None, b"5") == "one 5"


async def test_deleting_leaves_nothing(local: Platform, runtime: ScriptedRuntime) -> None:
    local.store.put("a.tar.gz")
    await local.deploy(record(variant(count=2)))
    await local.ask("a.tar.gz")
    await local.manager.delete("houses")
    assert all([await container.usage() is None for container in runtime.containers])
    assert list((local.context.run / "endpoints").iterdir()) == []
    with pytest.raises(ApiError, match="Endpoint houses of account 123456789012 not found"):
        await local.ask("a.tar.gz")


async def test_deleting_while_it_is_created(local: Platform, runtime: ScriptedRuntime) -> None:
    runtime.script.never_ready = True
    await local.manager.create(record(variant(count=2)))
    await wait_for(lambda: len(runtime.containers) == 2)
    await local.manager.delete("houses")
    assert all([await container.usage() is None for container in runtime.containers])
    assert list((local.context.run / "endpoints").iterdir()) == []


# -- Replacement ----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2])
async def test_a_container_killed_under_traffic_is_replaced_and_no_client_notices(
    local: Platform, runtime: ScriptedRuntime, count: int
) -> None:
    local.store.put("a.tar.gz")
    endpoint = await local.deploy(record(variant(count=count)))
    async with traffic(local) as wrong:
        await asyncio.sleep(0.2)
        killed = instances(local)[0]
        next(c for c in runtime.containers if c.spec.ml == killed.ml).die()
        await wait_for(lambda: len(runtime.containers) == count + 1)
        await wait_for(lambda: len(instances(local)) == count and killed not in instances(local))
        await asyncio.sleep(0.2)
    assert wrong == []
    assert endpoint.status == "InService"
    assert local.kinds("instance failed")[0]["reason"] == "its container ended with status 137"


async def test_a_container_killed_while_it_loads_is_no_error_for_the_client(
    local: Platform, runtime: ScriptedRuntime
) -> None:
    local.store.put("a.tar.gz")
    await local.deploy(record())
    runtime.script.load_seconds = 0.5
    asking = [asyncio.create_task(local.ask("a.tar.gz")) for _ in range(3)]
    await wait_for(lambda: runtime.script.log)
    runtime.containers[0].die()
    assert await asyncio.gather(*asking) == ["a.tar.gz 1"] * 3


async def test_a_busy_model_spills_over_to_another_instance(
    local: Platform, runtime: ScriptedRuntime
) -> None:
    local.store.put("a.tar.gz")
    await local.deploy(record(variant(count=2)))
    await local.ask("a.tar.gz")
    assert sorted(len(container.loaded) for container in runtime.containers) == [0, 1]
    runtime.script.invoke_seconds = 0.2
    await asyncio.gather(*(local.ask("a.tar.gz") for _ in range(4)))
    assert sorted(len(container.loaded) for container in runtime.containers) == [0, 1]
    await asyncio.gather(*(local.ask("a.tar.gz") for _ in range(12)))
    assert sorted(len(container.loaded) for container in runtime.containers) == [1, 1]


@pytest.mark.parametrize("fault", ["ping_status", "models_status"])
async def test_an_unhealthy_container_is_replaced(
    around: str, tmp_path, runtime: ScriptedRuntime, fault: str
) -> None:
    async with platform(around, tmp_path, runtime, poll_seconds=0.05) as local:
        await local.deploy(record())
        before = instances(local)[0]
        setattr(runtime.script, fault, 500)
        await wait_for(lambda: before not in instances(local))
        setattr(runtime.script, fault, 200)
        await wait_for(lambda: len(instances(local)) == 1)
        assert "3 health checks in a row" in local.kinds("instance failed")[0]["reason"]


async def test_a_replacement_that_does_not_start_is_tried_again(
    local: Platform, runtime: ScriptedRuntime
) -> None:
    await local.deploy(record())
    runtime.script.end_at_once = True
    runtime.containers[0].die()
    await wait_for(lambda: len(runtime.containers) == 2)
    runtime.script.end_at_once = False
    await wait_for(lambda: len(instances(local)) == 1)


# -- Changes --------------------------------------------------------------------------------------


async def test_an_update_under_traffic_drops_nothing(
    local: Platform, runtime: ScriptedRuntime
) -> None:
    local.store.put("a.tar.gz")
    endpoint = await local.deploy(record())
    runtime.script.invoke_seconds = 0.05
    async with traffic(local) as wrong:
        await asyncio.sleep(0.2)
        changed = config(variant(count=2, environment={"VERSION": "2"}), name="second")
        await local.manager.update(endpoint, changed)
        assert endpoint.status == "Updating"
        await local.settle(endpoint)
        await asyncio.sleep(0.2)
    assert wrong == []
    assert endpoint.status == "InService"
    assert endpoint.config.name == "second"
    assert [await container.usage() is None for container in runtime.containers] == [
        True,
        False,
        False,
    ]


async def test_an_endpoint_has_its_old_configuration_until_the_update_is_over(
    local: Platform, runtime: ScriptedRuntime
) -> None:
    """Also while the old instances answer their last requests."""
    local.store.put("a.tar.gz")
    endpoint = await local.deploy(record())
    runtime.script.invoke_seconds = 0.5
    asking = asyncio.create_task(local.ask("a.tar.gz"))
    await wait_for(lambda: runtime.containers[0].requests)
    await local.manager.update(endpoint, config(variant(count=2), name="second"))
    seen = set()
    while endpoint.status == "Updating":
        seen.add((endpoint.config.name, endpoint.variants["AllTraffic"].desired_count))
        await asyncio.sleep(0.005)
    assert seen == {("config", 1)}
    assert (endpoint.config.name, endpoint.variants["AllTraffic"].current_count) == ("second", 2)
    assert await asking


async def test_an_update_that_fails_leaves_the_endpoint_as_it_was(
    local: Platform, runtime: ScriptedRuntime
) -> None:
    local.store.put("a.tar.gz")
    endpoint = await local.deploy(record())
    runtime.script.end_at_once = True
    async with traffic(local) as wrong:
        await local.manager.update(endpoint, config(variant(count=2), name="second"))
        await local.settle(endpoint)
    assert wrong == []
    assert endpoint.status == "InService"
    assert "did not pass the ping health check" in endpoint.failure_reason
    assert endpoint.config.name == "config"


async def test_an_update_to_an_unknown_instance_type_leaves_the_endpoint_as_it_was(
    local: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    local.store.put("a.tar.gz")
    endpoint = await local.deploy(record())

    def unknown(_: str) -> InstanceType:
        raise LocalError("nothing is known here of the instance type ml.inf1.xlarge")

    monkeypatch.setattr(
        local.manager, "context", replace(local.manager.context, instance_type=unknown)
    )
    await local.manager.update(endpoint, config(variant(), name="second"))
    await local.settle(endpoint)
    assert endpoint.status == "InService"
    assert "ml.inf1.xlarge" in endpoint.failure_reason
    assert await local.ask("a.tar.gz")


async def test_an_endpoint_that_never_started_keeps_how_many_instances_were_asked_for(
    local: Platform, runtime: ScriptedRuntime
) -> None:
    """It is created again with the state of the local SageMaker."""
    runtime.script.end_at_once = True
    endpoint = record(variant(count=2))
    await local.manager.create(endpoint)
    await local.settle(endpoint)
    assert endpoint.status == "Failed"
    assert endpoint.variants["AllTraffic"].desired_count == 2


async def test_an_update_may_change_the_variants_names(
    local: Platform, runtime: ScriptedRuntime
) -> None:
    local.store.put("a.tar.gz")
    endpoint = await local.deploy(record(variant("Old")))
    async with traffic(local) as wrong:
        await local.manager.update(endpoint, config(variant("New")))
        await local.settle(endpoint)
    assert wrong == []
    assert list(endpoint.variants) == ["New"]


async def test_scaling_up_and_down_under_traffic(local: Platform, runtime: ScriptedRuntime) -> None:
    local.store.put("a.tar.gz")
    endpoint = await local.deploy(record())
    async with traffic(local) as wrong:
        await local.manager.scale(endpoint, "AllTraffic", 3, None)
        await local.settle(endpoint)
        assert endpoint.variants["AllTraffic"].current_count == 3
        await local.manager.scale(endpoint, "AllTraffic", 1, 0.5)
        await local.settle(endpoint)
    assert wrong == []
    state = endpoint.variants["AllTraffic"]
    assert (state.current_count, state.desired_count, state.current_weight) == (1, 1, 0.5)
    assert len(instances(local)) == 1


async def test_scaling_up_that_fails_keeps_what_there_is(
    local: Platform, runtime: ScriptedRuntime
) -> None:
    endpoint: EndpointRecord = await local.deploy(record())
    runtime.script.end_at_once = True
    await local.manager.scale(endpoint, "AllTraffic", 2, None)
    await local.settle(endpoint)
    assert endpoint.status == "InService"
    assert endpoint.failure_reason
    state = endpoint.variants["AllTraffic"]
    assert (state.current_count, state.desired_count) == (1, 1)


async def test_lines_of_a_container_go_to_cloudwatch_logs(local: Platform) -> None:
    await local.deploy(record())
    await local.context.logs.flush()
    logs = local.context.clients.client("logs")
    events = logs.get_log_events(
        logGroupName="/aws/sagemaker/Endpoints/houses",
        logStreamName=f"AllTraffic/{instances(local)[0].id}",
    )["events"]
    assert [event["message"] for event in events] == ["serving"]
