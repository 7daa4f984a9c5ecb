from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from mme_local.control.records import EndpointRecord
from mme_local.platform.scaling import Autoscaler
from support.local_platform import Platform, record, variant

pytestmark = pytest.mark.anyio

RESOURCE = "endpoint/houses/variant/AllTraffic"
DIMENSION = "sagemaker:variant:DesiredInstanceCount"
DIMENSIONS = [
    {"Name": "EndpointName", "Value": "houses"},
    {"Name": "VariantName", "Value": "AllTraffic"},
]
INVOCATIONS = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
CPU = {
    "MetricName": "CPUUtilization",
    "Namespace": "/aws/sagemaker/Endpoints",
    "Dimensions": DIMENSIONS,
    "Statistic": "Average",
    "Unit": "Percent",
}


class Scaled:
    """An endpoint that is scaled, and the time."""

    def __init__(self, local: Platform, endpoint: EndpointRecord) -> None:
        self.local = local
        self.endpoint = endpoint
        self.aws = local.context.clients.client("application-autoscaling")
        self.now = 1_800_000_000.0
        self.scaler = Autoscaler(
            local.manager,
            local.context.clients,
            local.context.events,
            clock=lambda: self.now,
            minutes_above=2,
            minutes_below=3,
        )

    def register(self, least: int = 1, most: int = 4, **rest: Any) -> None:
        self.aws.register_scalable_target(
            ServiceNamespace="sagemaker",
            ResourceId=RESOURCE,
            ScalableDimension=DIMENSION,
            MinCapacity=least,
            MaxCapacity=most,
            **rest,
        )

    def track(self, target: float, name: str = "policy", **rest: Any) -> None:
        if "CustomizedMetricSpecification" not in rest:
            rest["PredefinedMetricSpecification"] = INVOCATIONS
        self.aws.put_scaling_policy(
            PolicyName=name,
            ServiceNamespace="sagemaker",
            ResourceId=RESOURCE,
            ScalableDimension=DIMENSION,
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={"TargetValue": target, **rest},
        )

    async def minute(
        self,
        value: float | None,
        name: str = "InvocationsPerInstance",
        namespace: str = "AWS/SageMaker",
    ) -> int:
        """Let a minute pass in which the metric had a value; return the instances then."""
        if value is not None:
            self.local.context.clients.client("cloudwatch").put_metric_data(
                Namespace=namespace,
                MetricData=[
                    {
                        "MetricName": name,
                        "Dimensions": DIMENSIONS,
                        "Value": value,
                        "Timestamp": datetime.fromtimestamp(self.now + 1, UTC),
                    }
                ],
            )
        self.now += 60
        await self.scaler.step()
        if self.local.manager.find("houses"):
            await self.local.settle(self.endpoint)
        return self.endpoint.variants["AllTraffic"].current_count


@pytest.fixture
async def scaled(local: Platform) -> Scaled:
    return Scaled(local, await local.deploy(record(variant())))


async def test_more_requests_than_the_target_make_more_instances(scaled: Scaled) -> None:
    scaled.register()
    scaled.track(70)
    assert await scaled.minute(200) == 1  # one minute may be an accident
    assert await scaled.minute(200) == 3
    assert scaled.local.kinds("autoscaled")[0]["after"] == 3


async def test_there_are_never_more_than_the_most_nor_fewer_than_the_least(
    scaled: Scaled,
) -> None:
    scaled.register(least=2, most=3)
    scaled.track(10, ScaleOutCooldown=0, ScaleInCooldown=0)
    assert await scaled.minute(None) == 2
    for expected in (2, 3, 3):
        assert await scaled.minute(1000) == expected
    for _ in range(3):
        await scaled.minute(0)
    assert await scaled.minute(0) == 2


async def test_fewer_requests_make_fewer_instances_after_the_cooldown(scaled: Scaled) -> None:
    scaled.register()
    scaled.track(100, ScaleInCooldown=300)
    for _ in range(2):
        await scaled.minute(300)
    counts = [await scaled.minute(20) for _ in range(6)]
    assert counts == [3, 3, 3, 3, 1, 1]


async def test_scaling_out_waits_for_its_cooldown(scaled: Scaled) -> None:
    scaled.register()
    scaled.track(100, ScaleOutCooldown=120)
    counts = [await scaled.minute(110) for _ in range(5)]
    assert counts == [1, 2, 2, 3, 3]


async def test_without_data_or_near_the_target_nothing_changes(scaled: Scaled) -> None:
    scaled.register()
    scaled.track(100, ScaleInCooldown=0, ScaleOutCooldown=0)
    for _ in range(2):
        await scaled.minute(190)
    assert [await scaled.minute(None) for _ in range(4)] == [2] * 4
    assert [await scaled.minute(95) for _ in range(4)] == [2] * 4


async def test_scaling_in_can_be_disabled(scaled: Scaled) -> None:
    scaled.register()
    scaled.track(100, ScaleInCooldown=0, DisableScaleIn=True)
    for _ in range(2):
        await scaled.minute(190)
    assert [await scaled.minute(0) for _ in range(4)] == [2] * 4


async def test_a_metric_of_ones_own_can_be_tracked(scaled: Scaled) -> None:
    scaled.register()
    scaled.track(60, CustomizedMetricSpecification=CPU)
    for expected in (1, 2):
        got = await scaled.minute(90, "CPUUtilization", "/aws/sagemaker/Endpoints")
        assert got == expected


async def test_the_policy_that_wants_most_decides(scaled: Scaled) -> None:
    scaled.register()
    scaled.track(100, "requests", ScaleInCooldown=0)
    scaled.track(60, "cpu", CustomizedMetricSpecification=CPU, ScaleInCooldown=0)
    for _ in range(2):
        await scaled.minute(190)
    for _ in range(4):  # few requests, but the CPU is where it should be
        scaled.now -= 60
        await scaled.minute(58, "CPUUtilization", "/aws/sagemaker/Endpoints")
        got = await scaled.minute(1)
    assert got == 2


async def test_what_is_not_registered_or_not_there_is_left_alone(scaled: Scaled) -> None:
    scaled.track(10)
    scaled.aws.register_scalable_target(
        ServiceNamespace="sagemaker",
        ResourceId="endpoint/other/variant/AllTraffic",
        ScalableDimension=DIMENSION,
        MinCapacity=2,
        MaxCapacity=3,
    )
    assert await scaled.minute(1000) == 1
    assert await scaled.minute(1000) == 1


async def test_an_endpoint_that_is_deleted_meanwhile_stays_deleted(
    scaled: Scaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    scaled.register()
    scaled.track(70)
    assert await scaled.minute(200) == 1
    loop, wishes = asyncio.get_running_loop(), scaled.scaler._wishes

    def deleting(*arguments: Any) -> Any:
        deleted = scaled.local.manager.delete("houses")
        asyncio.run_coroutine_threadsafe(deleted, loop).result(30)
        return wishes(*arguments)

    monkeypatch.setattr(scaled.scaler, "_wishes", deleting)
    assert await scaled.minute(200) == 0
    assert scaled.local.manager.find("houses") is None
    assert scaled.endpoint.status == "Deleting"
    assert scaled.local.kinds("autoscaled") == []
