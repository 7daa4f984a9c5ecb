from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, WaiterError

from mme_local.errors import LocalError
from support.local_api import IMAGE, LocalApi
from support.local_requests import config, model, variant

ARN = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/houses"
QUICKLY = {"Delay": 0, "MaxAttempts": 100}


@pytest.fixture
def sagemaker(sagemaker: Any) -> Any:
    sagemaker.create_model(**model())
    sagemaker.create_endpoint_config(**config())
    return sagemaker


def create(sagemaker: Any, name: str = "houses") -> None:
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName="houses")


def message_of(call: Any, **request: Any) -> str:
    with pytest.raises(ClientError) as raised:
        call(**request)
    assert raised.value.response["Error"]["Code"] == "ValidationException"
    return str(raised.value.response["Error"]["Message"])


def test_an_endpoint_is_created_and_described(sagemaker: Any) -> None:
    created = sagemaker.create_endpoint(EndpointName="houses", EndpointConfigName="houses")
    assert created["EndpointArn"] == ARN
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="houses", WaiterConfig=QUICKLY)
    described = sagemaker.describe_endpoint(EndpointName="houses")
    assert described["EndpointStatus"] == "InService"
    assert described["EndpointConfigName"] == "houses"
    assert "FailureReason" not in described
    (shown,) = described["ProductionVariants"]
    image = shown.pop("DeployedImages")[0]
    assert (image["SpecifiedImage"], image["ResolvedImage"]) == (IMAGE, IMAGE)
    assert shown == {
        "VariantName": "AllTraffic",
        "CurrentWeight": 1.0,
        "DesiredWeight": 1.0,
        "CurrentInstanceCount": 1,
        "DesiredInstanceCount": 1,
    }


def test_an_endpoint_is_creating_until_the_backend_moves_it(api: LocalApi, sagemaker: Any) -> None:
    api.endpoints.slow = True
    create(sagemaker)
    described = sagemaker.describe_endpoint(EndpointName="houses")
    assert described["EndpointStatus"] == "Creating"
    assert described["PendingDeploymentSummary"]["EndpointConfigName"] == "houses"
    assert described["ProductionVariants"][0]["CurrentInstanceCount"] == 0
    in_progress = f'Cannot update in-progress endpoint "{ARN}".'
    for call, further in (
        (sagemaker.update_endpoint, {"EndpointConfigName": "houses"}),
        (sagemaker.delete_endpoint, {}),
        (
            sagemaker.update_endpoint_weights_and_capacities,
            {"DesiredWeightsAndCapacities": [{"VariantName": "AllTraffic"}]},
        ),
    ):
        assert message_of(call, EndpointName="houses", **further) == in_progress


def test_an_endpoint_that_fails_says_why_and_can_only_be_deleted(
    api: LocalApi, sagemaker: Any
) -> None:
    api.endpoints.slow = True
    create(sagemaker)
    reason = "The primary container for production variant AllTraffic did not pass the ping."
    api.on_loop(lambda: api.endpoints.created[0].move("Failed", reason + "x" * 2000))
    with pytest.raises(WaiterError, match="Failed"):
        sagemaker.get_waiter("endpoint_in_service").wait(
            EndpointName="houses", WaiterConfig=QUICKLY
        )
    described = sagemaker.describe_endpoint(EndpointName="houses")
    assert described["FailureReason"].startswith(reason)
    assert len(described["FailureReason"]) == 1024
    update = {"EndpointName": "houses", "EndpointConfigName": "houses"}
    assert "can only be deleted" in message_of(sagemaker.update_endpoint, **update)
    sagemaker.delete_endpoint(EndpointName="houses")


@pytest.mark.parametrize("error", [LocalError("No room."), RuntimeError("No room.")])
def test_an_endpoint_that_cannot_be_begun_has_failed(
    api: LocalApi, sagemaker: Any, error: Exception
) -> None:
    api.endpoints.error = error
    create(sagemaker)
    described = sagemaker.describe_endpoint(EndpointName="houses")
    assert (described["EndpointStatus"], described["FailureReason"]) == ("Failed", "No room.")


def test_names_are_unique_and_what_is_named_must_be_there(sagemaker: Any) -> None:
    create(sagemaker)
    again = {"EndpointName": "houses", "EndpointConfigName": "houses"}
    assert message_of(sagemaker.create_endpoint, **again) == (
        f'Cannot create already existing endpoint "{ARN}".'
    )
    nowhere = {"EndpointName": "other", "EndpointConfigName": "gone"}
    assert message_of(sagemaker.create_endpoint, **nowhere) == (
        "Could not find endpoint configuration "
        '"arn:aws:sagemaker:us-east-1:123456789012:endpoint-config/gone".'
    )
    assert "Could not find endpoint configuration" in message_of(
        sagemaker.update_endpoint, EndpointName="houses", EndpointConfigName="gone"
    )
    for call in (sagemaker.describe_endpoint, sagemaker.delete_endpoint):
        assert message_of(call, EndpointName="gone") == (
            'Could not find endpoint "arn:aws:sagemaker:us-east-1:123456789012:endpoint/gone".'
        )
    sagemaker.delete_model(ModelName="houses")
    other = {"EndpointName": "other", "EndpointConfigName": "houses"}
    assert "Could not find model" in message_of(sagemaker.create_endpoint, **other)


def test_an_endpoint_is_deleted_when_the_backend_has_ended_it(
    api: LocalApi, sagemaker: Any
) -> None:
    create(sagemaker)
    api.on_loop(api.endpoints.may_delete.clear)
    sagemaker.delete_endpoint(EndpointName="houses")
    described = sagemaker.describe_endpoint(EndpointName="houses")
    assert described["EndpointStatus"] == "Deleting"
    assert "in-progress" in message_of(sagemaker.delete_endpoint, EndpointName="houses")
    api.on_loop(api.endpoints.may_delete.set)
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="houses", WaiterConfig=QUICKLY)
    assert api.endpoints.deleted == ["houses"]
    create(sagemaker)


def test_an_endpoint_that_cannot_be_deleted_has_failed(api: LocalApi, sagemaker: Any) -> None:
    create(sagemaker)
    api.endpoints.error = RuntimeError("It hangs.")
    sagemaker.delete_endpoint(EndpointName="houses")
    with pytest.raises(WaiterError, match="Failed"):
        sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="houses", WaiterConfig=QUICKLY)


def test_an_update_takes_the_new_configuration(api: LocalApi, sagemaker: Any) -> None:
    create(sagemaker)
    sagemaker.create_endpoint_config(**config("houses-v2", InstanceType="ml.m5.large"))
    api.endpoints.slow = True
    sagemaker.update_endpoint(EndpointName="houses", EndpointConfigName="houses-v2")
    ((name, taken),) = api.endpoints.updated
    assert (name, taken.variants[0].instance_type) == ("houses", "ml.m5.large")
    described = sagemaker.describe_endpoint(EndpointName="houses")
    assert described["EndpointStatus"] == "Updating"
    assert described["PendingDeploymentSummary"]["EndpointConfigName"] == "houses-v2"
    again = {"EndpointName": "houses", "EndpointConfigName": "houses"}
    assert "in-progress" in message_of(sagemaker.update_endpoint, **again)
    api.on_loop(lambda: api.endpoints.created[0].move("InService"))
    described = sagemaker.describe_endpoint(EndpointName="houses")
    assert described["EndpointConfigName"] == "houses-v2"
    assert "PendingDeploymentSummary" not in described
    assert described["LastModifiedTime"] > described["CreationTime"]


OF_VARIANTS = {
    "ServiceNamespace": "sagemaker",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}


@pytest.fixture
def scaling(moto: str) -> Iterator[Any]:
    """Application Auto Scaling, that scales a variant of `houses` and one of `houses-2`."""
    scaling = boto3.client("application-autoscaling", endpoint_url=moto)
    tracking = {
        "TargetValue": 100,
        "PredefinedMetricSpecification": {
            "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
        },
    }
    for endpoint in ("houses", "houses-2"):
        variant = OF_VARIANTS | {"ResourceId": f"endpoint/{endpoint}/variant/AllTraffic"}
        scaling.register_scalable_target(**variant, MinCapacity=1, MaxCapacity=3)
        scaling.put_scaling_policy(
            **variant,
            PolicyName="by-invocations",
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration=tracking,
        )
    yield scaling
    for target in scaling.describe_scalable_targets(**OF_VARIANTS)["ScalableTargets"]:
        scaling.deregister_scalable_target(**OF_VARIANTS, ResourceId=target["ResourceId"])


@pytest.mark.parametrize(
    "other",
    [{"InstanceType": "ml.m5.large"}, {"VariantName": "Other"}],
    ids=["instance type", "variant"],
)
def test_an_autoscaled_variant_keeps_its_name_and_instance_type(
    api: LocalApi, sagemaker: Any, scaling: Any, other: dict[str, str]
) -> None:
    create(sagemaker)
    sagemaker.create_endpoint_config(**config("other", **other))
    sagemaker.create_endpoint_config(**config("same", InitialInstanceCount=2))
    update = {"EndpointName": "houses", "EndpointConfigName": "other"}
    assert message_of(sagemaker.update_endpoint, **update) == (
        'The variant(s) "[AllTraffic]" must be deregistered as scalable targets with AWS Auto '
        "Scaling before they can be removed or have their instance type updated."
    )
    assert sagemaker.describe_endpoint(EndpointName="houses")["EndpointStatus"] == "InService"
    sagemaker.update_endpoint(EndpointName="houses", EndpointConfigName="same")

    scaling.deregister_scalable_target(
        **OF_VARIANTS, ResourceId="endpoint/houses/variant/AllTraffic"
    )
    sagemaker.update_endpoint(**update)
    assert [updated.name for _, updated in api.endpoints.updated] == ["same", "other"]


def test_an_endpoint_that_is_deleted_is_autoscaled_no_more(sagemaker: Any, scaling: Any) -> None:
    create(sagemaker)
    sagemaker.delete_endpoint(EndpointName="houses")
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="houses", WaiterConfig=QUICKLY)
    targets = scaling.describe_scalable_targets(**OF_VARIANTS)["ScalableTargets"]
    policies = scaling.describe_scaling_policies(**OF_VARIANTS)["ScalingPolicies"]
    of_the_other = "endpoint/houses-2/variant/AllTraffic"
    assert [each["ResourceId"] for each in (*targets, *policies)] == [of_the_other] * 2


def test_an_update_that_cannot_be_begun_leaves_the_endpoint_in_service(
    api: LocalApi, sagemaker: Any
) -> None:
    create(sagemaker)
    api.endpoints.error = LocalError("No room.")
    update = {"EndpointName": "houses", "EndpointConfigName": "houses"}
    assert message_of(sagemaker.update_endpoint, **update) == "No room."
    described = sagemaker.describe_endpoint(EndpointName="houses")
    assert (described["EndpointStatus"], described["FailureReason"]) == ("InService", "No room.")


@pytest.mark.parametrize(
    ("excluded", "count", "weight"),
    [
        ([], 3, 0.25),
        (["DesiredInstanceCount"], 1, 0.25),
        (["DesiredWeight"], 3, 1.0),
    ],
)
def test_an_update_may_retain_what_the_variants_have(
    api: LocalApi, sagemaker: Any, excluded: list[str], count: int, weight: float
) -> None:
    create(sagemaker)
    scaled = {"VariantName": "AllTraffic", "DesiredInstanceCount": 3, "DesiredWeight": 0.25}
    sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="houses", DesiredWeightsAndCapacities=[scaled]
    )
    second = {
        "EndpointConfigName": "two",
        "ProductionVariants": [variant(), variant(VariantName="B")],
    }
    sagemaker.create_endpoint_config(**second)
    sagemaker.update_endpoint(
        EndpointName="houses",
        EndpointConfigName="two",
        RetainAllVariantProperties=True,
        ExcludeRetainedVariantProperties=[{"VariantPropertyType": one} for one in excluded],
    )
    first, new = api.endpoints.updated[0][1].variants
    assert (first.initial_count, first.weight) == (count, weight)
    assert (new.initial_count, new.weight) == (1, 1.0)


def test_variants_are_scaled(api: LocalApi, sagemaker: Any) -> None:
    create(sagemaker)
    scale = sagemaker.update_endpoint_weights_and_capacities
    wanted = [{"VariantName": "AllTraffic", "DesiredInstanceCount": 2}]
    answer = scale(EndpointName="houses", DesiredWeightsAndCapacities=wanted)
    assert answer["EndpointArn"] == ARN
    assert api.endpoints.scaled == [("houses", "AllTraffic", 2, None)]
    (shown,) = sagemaker.describe_endpoint(EndpointName="houses")["ProductionVariants"]
    assert (shown["CurrentInstanceCount"], shown["DesiredInstanceCount"]) == (2, 2)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            [{"VariantName": "Other"}],
            'The variant name(s) "Other" is/are not present within endpoint configuration '
            '"houses".',
        ),
        (
            [{"VariantName": "AllTraffic"}, {"VariantName": "AllTraffic"}],
            'The variant name "AllTraffic" was non-unique within the request.',
        ),
        ([{"VariantName": "AllTraffic", "DesiredInstanceCount": 0}], "must be at least 1"),
        (
            [{"VariantName": "AllTraffic", "ServerlessUpdateConfig": {"MaxConcurrency": 1}}],
            "ServerlessUpdateConfig is not supported",
        ),
    ],
)
def test_scaling_that_is_refused(
    api: LocalApi, sagemaker: Any, wanted: list[dict[str, Any]], message: str
) -> None:
    create(sagemaker)
    call = sagemaker.update_endpoint_weights_and_capacities
    assert message in message_of(call, EndpointName="houses", DesiredWeightsAndCapacities=wanted)
    assert api.endpoints.scaled == []


def test_deployment_configurations_are_not_built(sagemaker: Any) -> None:
    request = {
        "EndpointName": "houses",
        "EndpointConfigName": "houses",
        "DeploymentConfig": {
            "RollingUpdatePolicy": {
                "MaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": 1},
                "WaitIntervalInSeconds": 0,
            }
        },
    }
    assert "DeploymentConfig is not supported" in message_of(sagemaker.create_endpoint, **request)


def test_endpoints_are_listed(api: LocalApi, sagemaker: Any) -> None:
    create(sagemaker, "a")
    api.endpoints.slow = True
    create(sagemaker, "b")
    listed = sagemaker.list_endpoints(StatusEquals="Creating")["Endpoints"]
    assert [one["EndpointName"] for one in listed] == ["b"]
    by_status = sagemaker.list_endpoints(SortBy="Status", SortOrder="Descending")["Endpoints"]
    assert [one["EndpointStatus"] for one in by_status] == ["InService", "Creating"]
    soon = datetime.now(UTC) + timedelta(minutes=1)
    assert sagemaker.list_endpoints(CreationTimeAfter=soon)["Endpoints"] == []
    assert len(sagemaker.list_endpoints(LastModifiedTimeBefore=soon)["Endpoints"]) == 2


def test_two_at_once_make_one(api: LocalApi, sagemaker: Any) -> None:
    async def twice() -> list[Any]:
        request = {"EndpointName": "houses", "EndpointConfigName": "houses"}
        calls = [api.plane.call("CreateEndpoint", request) for _ in range(2)]
        return await asyncio.gather(*calls, return_exceptions=True)

    first, second = api.wait(twice())
    assert first == {"EndpointArn": ARN}
    assert "already existing" in str(second)
