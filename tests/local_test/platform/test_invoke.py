from __future__ import annotations

import asyncio

import pytest

from mme_local.errors import ApiError
from mme_local.platform.artifacts import identify
from support.local_platform import (
    Platform,
    archive_of,
    invocation,
    platform,
    record,
    variant,
)
from support.scripted_containers import ScriptedRuntime

pytestmark = pytest.mark.anyio


async def refused(local: Platform, target: str | None = "a.tar.gz", **rest: object) -> ApiError:
    """The error that an invocation ends with."""
    with pytest.raises(ApiError) as caught:
        await local.ask(target, **rest)
    return caught.value


async def test_a_model_is_loaded_when_it_is_first_named(
    local: Platform, runtime: ScriptedRuntime
) -> None:
    local.store.put("city/a.tar.gz")
    await local.deploy(record())
    assert await local.ask("city/a.tar.gz", b"1,2") == "city/a.tar.gz 1,2"
    assert await local.ask("city/a.tar.gz", b"3") == "city/a.tar.gz 3"
    assert runtime.script.log == [("load", identify("city/a.tar.gz"))]


async def test_the_container_gets_the_documented_headers_only(
    local: Platform, runtime: ScriptedRuntime
) -> None:
    local.store.put("a.tar.gz")
    await local.deploy(record())
    headers = {
        "accept": "application/json",
        "x-amzn-sagemaker-custom-attributes": "trace=1",
        "authorization": "AWS4-HMAC-SHA256 …",
        "cookie": "secret",
    }
    answer = await local.invoker.invoke(invocation("a.tar.gz", headers=headers))
    assert runtime.containers[0].requests == [
        {
            "host": runtime.containers[0].url.removeprefix("http://"),
            "content-type": "text/csv",
            "accept": "application/json",
            "x-amzn-sagemaker-custom-attributes": "trace=1",
            "x-amzn-sagemaker-target-model": "a.tar.gz",
            "content-length": "1",
        }
    ]
    assert answer.headers == {"x-amzn-sagemaker-custom-attributes": "seen"}
    assert answer.content_type.startswith("text/csv")
    assert answer.variant == "AllTraffic"


async def test_one_load_serves_all_who_wait_for_it(
    local: Platform, runtime: ScriptedRuntime
) -> None:
    local.store.put("a.tar.gz")
    await local.deploy(record())
    runtime.script.load_seconds = 0.2
    answers = await asyncio.gather(*(local.ask("a.tar.gz", str(n).encode()) for n in range(20)))
    assert answers == [f"a.tar.gz {n}" for n in range(20)]
    assert len(runtime.script.log) == 1
    shown = local.manager.snapshot()[0]["variants"][0]
    assert shown["cache"] == {"hits": 0, "misses": 20}
    assert shown["latency_ms"]["count"] == 20


async def test_different_models_are_loaded_at_the_same_time(
    around: str, tmp_path, runtime: ScriptedRuntime
) -> None:
    async with platform(around, tmp_path, runtime, parallel_loads=3) as local:
        targets = [local.store.put(f"{n}.tar.gz") for n in range(9)]
        await local.deploy(record())
        runtime.script.load_seconds = 0.1
        await asyncio.gather(*(local.ask(target) for target in targets))
        assert runtime.containers[0].most_posting == 3


async def test_a_client_is_told_to_come_back_while_the_load_goes_on(
    around: str, tmp_path, runtime: ScriptedRuntime
) -> None:
    async with platform(around, tmp_path, runtime, model_ready_seconds=0.3) as local:
        local.store.put("a.tar.gz")
        await local.deploy(record())
        runtime.script.load_seconds = 0.8
        error = await refused(local)
        assert (error.code, error.status) == ("ModelNotReadyException", 429)
        await asyncio.sleep(0.8)
        assert await local.ask("a.tar.gz") == "a.tar.gz 1"
        assert len(runtime.script.log) == 1


async def test_a_load_is_given_up_at_last(around: str, tmp_path, runtime: ScriptedRuntime) -> None:
    async with platform(around, tmp_path, runtime, load_seconds=0.2) as local:
        local.store.put("a.tar.gz")
        await local.deploy(record())
        runtime.script.load_seconds = 30
        error = await refused(local)
        assert (error.code, error.fields["OriginalStatusCode"]) == ("ModelError", 0)
        runtime.script.load_seconds = 0
        assert await local.ask("a.tar.gz") == "a.tar.gz 1"


async def test_letters_of_other_alphabets_in_a_name(local: Platform) -> None:
    local.store.put("Köln.tar.gz")
    await local.deploy(record())
    assert await local.ask("Köln.tar.gz") == "Köln.tar.gz 1"


# -- What is asked for is not there ---------------------------------------------------------------


async def test_an_endpoint_that_is_not_there(local: Platform) -> None:
    error = await refused(local, endpoint="nowhere")
    assert (error.code, error.status) == ("ValidationError", 400)
    assert error.message == "Endpoint nowhere of account 123456789012 not found."


async def test_an_endpoint_that_is_not_in_service(
    local: Platform, runtime: ScriptedRuntime
) -> None:
    runtime.script.never_ready = True
    await local.manager.create(record())
    error = await refused(local)
    assert error.message.startswith("Endpoint houses of account 123456789012 not found. It is Crea")


async def test_a_multi_model_endpoint_must_be_told_the_model(local: Platform) -> None:
    await local.deploy(record())
    error = await refused(local, None)
    assert error.code == "ValidationError"
    assert error.message.endswith(" is missing a target model header.")


async def test_an_endpoint_with_one_model_takes_no_target(local: Platform) -> None:
    local.store.put("one.tar.gz", prefix="")
    await local.deploy(record(variant(url="s3://models/one.tar.gz", many=False)))
    error = await refused(local)
    assert error.message == (
        "Endpoint houses is not a multi-model endpoint and does not support target model header."
    )
    assert await local.ask(None, b"2") == "one.tar.gz 2"


async def test_a_model_that_is_not_there(local: Platform) -> None:
    await local.deploy(record())
    error = await refused(local, "city/none.tar.gz")
    assert error.code == "ValidationError"
    assert error.message == (
        "Failed to download model data(bucket: models, key: many/city/none.tar.gz). Please ensure "
        "that there is an object located at the URL and that the role passed to CreateModel has "
        "permissions to download the model."
    )


@pytest.mark.parametrize(
    "target",
    ["/a.tar.gz", "../a.tar.gz", "b/../a.tar.gz", "a.zip", "a.tar.gz/", "a\n.tar.gz", "x" * 1020],
)
async def test_a_target_that_can_be_none(local: Platform, target: str) -> None:
    await local.deploy(record())
    error = await refused(local, target)
    assert error.code == "ValidationError"
    assert "must be the path of a .tar.gz archive" in error.message


async def test_a_hostile_archive_is_refused_and_leaves_nothing(
    local: Platform, runtime: ScriptedRuntime
) -> None:
    local.store.put("evil.tar.gz", archive_of({"model.txt": b"", "../../../evil": b"x"}))
    await local.deploy(record())
    before = sorted(local.context.run.rglob("*"))
    error = await refused(local, "evil.tar.gz")
    assert error.code == "ValidationError"
    assert "s3://models/many/evil.tar.gz" in error.message
    assert "would be written outside" in error.message
    assert sorted(local.context.run.rglob("*")) in (before, [*before, *_models(local)])
    assert runtime.script.log == []


def _models(local: Platform) -> list[object]:
    return [path for path in local.context.run.rglob("models") if not list(path.iterdir())]


async def test_a_variant_that_is_not_there(local: Platform) -> None:
    await local.deploy(record())
    error = await refused(local, target_variant="Other")
    assert error.message == "Variant Other of endpoint houses not found."


# -- What containers answer -----------------------------------------------------------------------


@pytest.mark.parametrize(("status", "side"), [(400, "client"), (413, "client"), (500, "server")])
async def test_errors_of_the_container_are_model_errors(
    local: Platform, runtime: ScriptedRuntime, status: int, side: str
) -> None:
    local.store.put("a.tar.gz")
    await local.deploy(record())
    runtime.script.invoke_status = status
    error = await refused(local)
    assert (error.code, error.status) == ("ModelError", 424)
    assert error.message == (
        f'Received {side} error ({status}) from primary with message "it failed". See '
        "https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1"
        "#logEventViewer:group=/aws/sagemaker/Endpoints/houses in account 123456789012 for more "
        "information."
    )
    assert error.fields == {
        "OriginalStatusCode": status,
        "OriginalMessage": "it failed",
        "LogStreamArn": (
            "arn:aws:logs:us-east-1:123456789012:log-group:/aws/sagemaker/Endpoints/houses"
        ),
    }


async def test_a_load_that_fails_is_a_model_error(
    local: Platform, runtime: ScriptedRuntime
) -> None:
    local.store.put("a.tar.gz")
    await local.deploy(record())
    runtime.script.load_status = 500
    error = await refused(local)
    assert (error.code, error.fields["OriginalStatusCode"]) == ("ModelError", 500)
    runtime.script.load_status = 0
    assert await local.ask("a.tar.gz") == "a.tar.gz 1"


async def test_a_container_that_takes_too_long(
    around: str, tmp_path, runtime: ScriptedRuntime
) -> None:
    async with platform(around, tmp_path, runtime, invoke_seconds=0.2) as local:
        local.store.put("a.tar.gz")
        await local.deploy(record())
        runtime.script.invoke_seconds = 5
        error = await refused(local)
        assert error.fields["OriginalStatusCode"] == 0
        assert error.fields["OriginalMessage"] == (
            "Your invocation timed out while waiting for a response from container primary. Review "
            "the latency metrics for each container in Amazon CloudWatch, resolve the issue, and "
            "try again."
        )
        runtime.script.invoke_seconds = 0


async def test_a_model_that_has_gone_is_loaded_again(
    local: Platform, runtime: ScriptedRuntime
) -> None:
    local.store.put("a.tar.gz")
    await local.deploy(record())
    await local.ask("a.tar.gz")
    runtime.containers[0].loaded.clear()
    assert await local.ask("a.tar.gz") == "a.tar.gz 1"
    assert len(runtime.script.log) == 2


async def test_a_model_that_is_there_already_counts_as_loaded(
    local: Platform, runtime: ScriptedRuntime
) -> None:
    local.store.put("a.tar.gz")
    await local.deploy(record())
    runtime.containers[0].loaded[identify("a.tar.gz")] = "a.tar.gz"
    assert await local.ask("a.tar.gz") == "a.tar.gz 1"


async def test_no_memory_for_a_request_makes_room_and_tries_again(
    local: Platform, runtime: ScriptedRuntime
) -> None:
    for target in ("a.tar.gz", "b.tar.gz"):
        local.store.put(target)
    await local.deploy(record())
    await local.ask("a.tar.gz")
    await local.ask("b.tar.gz")
    runtime.script.invoke_status = 507
    error = await refused(local, "b.tar.gz")
    assert error.fields["OriginalStatusCode"] == 507
    assert local.unloaded() == ["a.tar.gz"]
    assert len(runtime.containers[0].requests) == 2 + 3


# -- Variants -------------------------------------------------------------------------------------


async def test_requests_go_to_variants_by_weight(local: Platform) -> None:
    local.store.put("a.tar.gz")
    await local.deploy(record(variant("A", weight=3), variant("B", weight=1)))
    answers = [await local.invoker.invoke(invocation("a.tar.gz")) for _ in range(60)]
    share = sum(answer.variant == "A" for answer in answers) / 60
    assert 0.55 < share < 0.95
    answer = await local.invoker.invoke(invocation("a.tar.gz", target_variant="B"))
    assert answer.variant == "B"
