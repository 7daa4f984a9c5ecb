from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from mme_local.errors import ApiError, LocalError
from support.local_api import IMAGE, LocalApi
from support.local_requests import ROLE, model

ARN = "arn:aws:sagemaker:us-east-1:123456789012:model/houses"
MISSING_LABEL = (
    "Your Ecr Image plain does not contain required "
    "com.amazonaws.sagemaker.capabilities.multi-models=true Docker label(s)."
)


def refusal(sagemaker: Any, request: dict[str, Any]) -> str:
    with pytest.raises(ClientError) as raised:
        sagemaker.create_model(**request)
    assert raised.value.response["Error"]["Code"] == "ValidationException"
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    return str(raised.value.response["Error"]["Message"])


def test_a_model_is_created_and_described(sagemaker: Any) -> None:
    assert sagemaker.create_model(**model(Environment={"A": "1"}))["ModelArn"] == ARN
    described = sagemaker.describe_model(ModelName="houses")
    assert described["ModelArn"] == ARN
    assert described["ExecutionRoleArn"] == ROLE
    assert described["EnableNetworkIsolation"] is False
    assert described["PrimaryContainer"] == {
        "Image": IMAGE,
        "Mode": "MultiModel",
        "ModelDataUrl": "s3://houses/models/",
        "Environment": {"A": "1"},
    }


def test_one_of_containers_is_as_good_as_a_primary_container(sagemaker: Any) -> None:
    request = model()
    request["Containers"] = [request.pop("PrimaryContainer")]
    sagemaker.create_model(**request)
    described = sagemaker.describe_model(ModelName="houses")
    assert "PrimaryContainer" not in described
    assert described["Containers"][0]["Mode"] == "MultiModel"


def test_a_model_of_one_archive(sagemaker: Any) -> None:
    url = "s3://houses/models/Chicago_IL.tar.gz"
    sagemaker.create_model(**model(Mode=None, ModelDataUrl=url, Image="plain"))
    assert sagemaker.describe_model(ModelName="houses")["PrimaryContainer"]["Mode"] == "SingleModel"


def test_a_source_of_one_archive_is_as_good_as_its_url(sagemaker: Any) -> None:
    source = {
        "S3DataSource": {
            "S3Uri": "s3://houses/models/Chicago_IL.tar.gz",
            "S3DataType": "S3Object",
            "CompressionType": "Gzip",
        }
    }
    sagemaker.create_model(**model(Mode=None, ModelDataUrl=None, ModelDataSource=source))


def test_names_are_unique(sagemaker: Any) -> None:
    sagemaker.create_model(**model())
    assert refusal(sagemaker, model()) == f'Cannot create already existing model "{ARN}".'


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"Image": "plain"}, MISSING_LABEL),
        ({"Image": "nowhere:1"}, "Requested image nowhere:1 not found."),
        ({"ModelDataUrl": "s3://houses/models"}, "must be an S3 prefix that ends in '/'"),
        ({"ModelDataUrl": None}, "none is given"),
        ({"ModelDataUrl": "https://s3.amazonaws.com/houses/"}, "must be s3://bucket/key"),
        (
            {"Mode": "SingleModel", "ModelDataUrl": "https://houses.s3.amazonaws.com/a.tar.gz"},
            "must be s3://bucket/key",
        ),
        ({"Mode": "SingleModel"}, "must point to a single gzip compressed tar archive"),
        (
            {"Mode": "SingleModel", "ModelDataUrl": "s3://houses/no.tar.gz"},
            "Could not find model data at s3://houses/no.tar.gz.",
        ),
        (
            {"Mode": "SingleModel", "ModelDataUrl": "s3://nowhere/no.tar.gz"},
            "Could not find model data at s3://nowhere/no.tar.gz.",
        ),
        (
            {
                "ModelDataSource": {
                    "S3DataSource": {
                        "S3Uri": "s3://houses/models/",
                        "S3DataType": "S3Prefix",
                        "CompressionType": "None",
                    }
                }
            },
            "ModelDataSource is not supported for a container in MultiModel mode",
        ),
        (
            {
                "Mode": None,
                "ModelDataUrl": None,
                "ModelDataSource": {
                    "S3DataSource": {
                        "S3Uri": "s3://houses/models/",
                        "S3DataType": "S3Prefix",
                        "CompressionType": "None",
                    }
                },
            },
            "An uncompressed ModelDataSource is not supported by the local SageMaker",
        ),
        (
            {
                "Mode": "SingleModel",
                "ModelDataUrl": "s3://houses/models/Chicago_IL.tar.gz",
                "MultiModelConfig": {"ModelCacheSetting": "Disabled"},
            },
            "MultiModelConfig is only for a container in MultiModel mode",
        ),
        ({"Image": None}, "A container without Image"),
        (
            {"Mode": "Many"},
            "1 validation error detected: Value 'Many' at 'primaryContainer.mode' failed to "
            "satisfy constraint: Member must satisfy enum value set: [SingleModel, MultiModel]",
        ),
        (
            {"Environment": {f"K{i}": "v" for i in range(101)}},
            "1 validation error detected: Value at 'primaryContainer.environment' failed to "
            "satisfy constraint: Member must have length less than or equal to 100",
        ),
    ],
)
def test_containers_that_are_refused(
    sagemaker: Any, container: dict[str, Any], message: str
) -> None:
    assert message in refusal(sagemaker, model(**container))
    assert sagemaker.list_models()["Models"] == []


@pytest.mark.parametrize("arn", [ROLE + "2", ROLE.replace("role/", "role/path/")])
def test_the_role_must_exist_under_its_whole_name(sagemaker: Any, arn: str) -> None:
    assert refusal(sagemaker, {**model(), "ExecutionRoleArn": arn}) == (
        f"Could not assume role {arn}. Please ensure that the role exists and allows principal "
        "'sagemaker.amazonaws.com' to assume the role."
    )


def test_the_role_must_trust_sagemaker(sagemaker: Any) -> None:
    trust = (
        '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", '
        '"Principal": {"Service": "lambda.amazonaws.com"}}}'
    )
    role = boto3.client("iam").create_role(RoleName="other", AssumeRolePolicyDocument=trust)
    arn = role["Role"]["Arn"]
    message = refusal(sagemaker, {**model(), "ExecutionRoleArn": arn})
    assert message.startswith(f"Could not assume role {arn}.")


def test_a_role_is_needed(sagemaker: Any) -> None:
    request = model()
    del request["ExecutionRoleArn"]
    assert "ExecutionRoleArn must be given" in refusal(sagemaker, request)


def test_one_container_must_be_given(sagemaker: Any) -> None:
    request = model()
    container = request.pop("PrimaryContainer")
    assert "must be given" in refusal(sagemaker, request)
    assert "not both" in refusal(
        sagemaker, {**request, "PrimaryContainer": container, "Containers": [container]}
    )
    single = {**container, "Mode": "SingleModel"}
    assert "inference pipeline" in refusal(sagemaker, {**request, "Containers": [single, single]})
    assert refusal(sagemaker, {**request, "Containers": [container, container]}) == (
        "More than one container in MultiModel mode is not supported with inference pipeline."
    )


def test_a_runtime_that_cannot_look_says_why(api: LocalApi, sagemaker: Any) -> None:
    api.images.error = LocalError("Docker does not answer.")
    assert refusal(sagemaker, model()) == (
        f"Image {IMAGE} cannot be looked up: Docker does not answer."
    )
    api.images.error = ApiError("ValidationException", "Not that one.")
    assert refusal(sagemaker, model()) == "Not that one."


def test_models_are_listed_and_deleted(sagemaker: Any) -> None:
    for name in ("a-1", "a-2", "b-1"):
        sagemaker.create_model(**model(name))
    listed = sagemaker.list_models(NameContains="a-", SortBy="Name", SortOrder="Ascending")
    assert [one["ModelName"] for one in listed["Models"]] == ["a-1", "a-2"]
    newest_first = sagemaker.list_models()["Models"]
    assert [one["ModelName"] for one in newest_first] == ["b-1", "a-2", "a-1"]
    pages = sagemaker.get_paginator("list_models").paginate(PaginationConfig={"PageSize": 1})
    assert [page["Models"][0]["ModelName"] for page in pages] == ["b-1", "a-2", "a-1"]
    sagemaker.delete_model(ModelName="a-1")
    with pytest.raises(ClientError, match="Could not find model") as raised:
        sagemaker.describe_model(ModelName="a-1")
    assert raised.value.response["Error"]["Message"] == (
        'Could not find model "arn:aws:sagemaker:us-east-1:123456789012:model/a-1".'
    )
    with pytest.raises(ClientError, match="Could not find model"):
        sagemaker.delete_model(ModelName="a-1")
