from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from support.local_api import IMAGE, LocalApi
from support.local_requests import config, model, variant

ARN = "arn:aws:sagemaker:us-east-1:123456789012:endpoint-config/houses"


@pytest.fixture
def with_model(sagemaker: Any) -> Any:
    sagemaker.create_model(**model())
    return sagemaker


def refusal(sagemaker: Any, request: dict[str, Any]) -> str:
    with pytest.raises(ClientError) as raised:
        sagemaker.create_endpoint_config(**request)
    assert raised.value.response["Error"]["Code"] == "ValidationException"
    return str(raised.value.response["Error"]["Message"])


def test_a_configuration_is_created_and_described(with_model: Any) -> None:
    created = with_model.create_endpoint_config(**config(), KmsKeyId="key")
    assert created["EndpointConfigArn"] == ARN
    described = with_model.describe_endpoint_config(EndpointConfigName="houses")
    assert described["EndpointConfigArn"] == ARN
    assert described["KmsKeyId"] == "key"
    assert described["ProductionVariants"] == [variant(InitialVariantWeight=1.0)]


def test_an_instance_type_that_only_trains_is_refused_with_the_nearest_that_hosts(
    with_model: Any,
) -> None:
    message = refusal(with_model, config(InstanceType="ml.t3.medium"))
    assert message.startswith(
        "1 validation error detected: Value 'ml.t3.medium' at "
        "'productionVariants.1.member.instanceType' failed to satisfy constraint: "
        "Member must satisfy enum value set: [ml.t2.medium, ml.t2.large, "
    )
    assert message.endswith(
        "]. ml.t3.medium can train but cannot host; the nearest that can is ml.t2.medium."
    )


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"ModelName": "gone"}, 'Could not find model "arn:aws:sagemaker:us-east-1:'),
        ({"ModelName": None}, "inference components are not supported"),
        (
            {
                "InstanceType": None,
                "InitialInstanceCount": None,
                "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 1},
            },
            "ServerlessConfig of variant AllTraffic is not supported with MultiModel mode",
        ),
        ({"InstanceType": None}, "InstanceType must be given for variant AllTraffic."),
        ({"InitialInstanceCount": None}, "InitialInstanceCount must be given"),
        (
            {"InstanceType": "ml.g4dn.12xlarge"},
            "MultiModel mode is not supported for instance type ml.g4dn.12xlarge.",
        ),
        (
            {"InstanceType": "ml.m5d.large", "VolumeSizeInGB": 50},
            "VolumeSize parameter is not allowed for the selected Instance type ml.m5d.large.",
        ),
        (
            {"ManagedInstanceScaling": {"Status": "ENABLED"}},
            "ManagedInstanceScaling is not supported by the local SageMaker.",
        ),
    ],
)
def test_variants_that_are_refused(with_model: Any, members: dict[str, Any], message: str) -> None:
    assert message in refusal(with_model, config(**members))
    assert with_model.list_endpoint_configs()["EndpointConfigs"] == []


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"ShadowProductionVariants": [variant(VariantName="s")]}, "ShadowProductionVariants is"),
        (
            {
                "DataCaptureConfig": {
                    "EnableCapture": True,
                    "InitialSamplingPercentage": 1,
                    "DestinationS3Uri": "s3://houses/",
                    "CaptureOptions": [{"CaptureMode": "Input"}],
                }
            },
            "Data capture is not supported",
        ),
        (
            {"ProductionVariants": [variant(), variant()]},
            'The variant name "AllTraffic" was non-unique within the request.',
        ),
        (
            {"EndpointConfigName": "under_score"},
            "1 validation error detected: Value 'under_score' at 'endpointConfigName' failed to "
            "satisfy constraint: Member must satisfy regular expression pattern: "
            "[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}",
        ),
    ],
)
def test_configurations_that_are_refused(
    with_model: Any, members: dict[str, Any], message: str
) -> None:
    assert message in refusal(with_model, {**config(), **members})


def test_names_are_unique(with_model: Any) -> None:
    with_model.create_endpoint_config(**config())
    assert refusal(with_model, config()) == (
        f'Cannot create already existing endpoint configuration "{ARN}".'
    )


def test_a_serverless_single_model_is_not_built(sagemaker: Any) -> None:
    archive = "s3://houses/models/Chicago_IL.tar.gz"
    sagemaker.create_model(**model("one", Mode="SingleModel", ModelDataUrl=archive))
    serverless = {"MemorySizeInMB": 2048, "MaxConcurrency": 1}
    one = {"VariantName": "v", "ModelName": "one", "ServerlessConfig": serverless}
    message = refusal(sagemaker, {"EndpointConfigName": "c", "ProductionVariants": [one]})
    assert "not supported by the local SageMaker: give InstanceType" in message


def test_what_a_variant_is_resolved_to(api: LocalApi, sagemaker: Any) -> None:
    cache = {"ModelCacheSetting": "Disabled"}
    sagemaker.create_model(**model(MultiModelConfig=cache, Environment={"A": "1"}))
    request = config(InitialVariantWeight=0.5, ContainerStartupHealthCheckTimeoutInSeconds=90)
    sagemaker.create_endpoint_config(**request)
    sagemaker.create_endpoint(EndpointName="houses", EndpointConfigName="houses")
    (resolved,) = api.endpoints.created[0].config.variants
    assert (resolved.image, resolved.environment) == (IMAGE, {"A": "1"})
    assert (resolved.multi_model, resolved.cache_models) == (True, False)
    assert resolved.model_data_url == "s3://houses/models/"
    assert (resolved.instance_type, resolved.initial_count) == ("ml.t2.medium", 1)
    assert (resolved.weight, resolved.startup_seconds) == (0.5, 90)
    assert resolved.role_arn.endswith(":role/SageMakerRole")


def test_configurations_are_listed_and_deleted(with_model: Any) -> None:
    for name in ("a", "b"):
        with_model.create_endpoint_config(**config(name))
    listed = with_model.list_endpoint_configs(MaxResults=1)
    assert [one["EndpointConfigName"] for one in listed["EndpointConfigs"]] == ["b"]
    rest = with_model.list_endpoint_configs(NextToken=listed["NextToken"])
    assert [one["EndpointConfigName"] for one in rest["EndpointConfigs"]] == ["a"]
    with_model.delete_endpoint_config(EndpointConfigName="a")
    with pytest.raises(ClientError, match="Could not find endpoint configuration"):
        with_model.describe_endpoint_config(EndpointConfigName="a")


def test_a_configuration_can_go_once_its_endpoint_is_in_service(
    api: LocalApi, with_model: Any
) -> None:
    api.endpoints.slow = True
    with_model.create_endpoint_config(**config())
    with_model.create_endpoint(EndpointName="houses", EndpointConfigName="houses")
    with pytest.raises(ClientError, match="Cannot delete endpoint configuration"):
        with_model.delete_endpoint_config(EndpointConfigName="houses")
    api.on_loop(lambda: api.endpoints.created[0].move("InService"))
    with_model.delete_endpoint_config(EndpointConfigName="houses")
    described = with_model.describe_endpoint(EndpointName="houses")
    assert described["EndpointConfigName"] == "houses"


def test_a_configuration_that_is_being_updated_to_stays(api: LocalApi, with_model: Any) -> None:
    for name in ("old", "new"):
        with_model.create_endpoint_config(**config(name))
    with_model.create_endpoint(EndpointName="houses", EndpointConfigName="old")
    api.endpoints.slow = True
    with_model.update_endpoint(EndpointName="houses", EndpointConfigName="new")
    with pytest.raises(ClientError, match="Cannot delete endpoint configuration"):
        with_model.delete_endpoint_config(EndpointConfigName="new")
