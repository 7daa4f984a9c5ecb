"""SageMaker itself: users of the local SageMaker with policies, and execution roles without."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from support.aws import ACCOUNT, REGION
from support.iam import User, allow, deny, policy, refused
from support.local_api import TRUST
from support.local_up import Local, up
from support.models import ModelStore
from support.serving import until

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
BUCKET = "houses"
TARGET = "Chicago_IL.tar.gz"
PASS = {"iam:PassedToService": "sagemaker.amazonaws.com"}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    with up(tmp_path_factory.mktemp("up")) as running:
        running.client("s3").create_bucket(Bucket=BUCKET)
        running.client("s3").put_object(Bucket=BUCKET, Key="train/a.csv", Body=b"1,2\n2,3\n" * 20)
        yield running


@pytest.fixture
def user(local: Local) -> Callable[..., User]:
    """Makes users."""
    sagemaker = local.address.sagemaker
    endpoints = {"": local.address.aws, "sagemaker": sagemaker, "sagemaker-runtime": sagemaker}
    return lambda *statements: User(local.client("iam"), endpoints, *statements)


def arn(kind: str, name: str) -> str:
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name}"


def model(name: str, role: str, **more: Any) -> dict[str, Any]:
    container = {"Image": IMAGE, "Mode": "MultiModel", "ModelDataUrl": f"s3://{BUCKET}/models/"}
    return {
        "ModelName": name,
        "ExecutionRoleArn": role,
        "PrimaryContainer": container,
        **more,
    }


def config(name: str, of: str) -> dict[str, Any]:
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": of,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    return {"EndpointConfigName": name, "ProductionVariants": [variant]}


def job(name: str, role: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/train/"}
    channel = {
        "ChannelName": "train",
        "ContentType": "text/csv",
        "DataSource": {"S3DataSource": source},
    }
    return {
        "TrainingJobName": name,
        "RoleArn": role,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "HyperParameters": {"num_round": "1"},
        "InputDataConfig": [channel],
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
        "ResourceConfig": {
            "InstanceType": "ml.m5.large",
            "InstanceCount": 1,
            "VolumeSizeInGB": 1,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }


def role(local: Local, name: str, *statements: dict[str, Any]) -> str:
    """A role that SageMaker may assume, with these statements."""
    iam = local.client("iam")
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    document = policy(*statements, allow("x:Y"))
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document)
    return str(made)


def test_a_user_without_a_policy_may_do_nothing(user: Any) -> None:
    ann = user()
    sagemaker = ann.client("sagemaker")
    assert refused(sagemaker.describe_model, ModelName="None") == (
        f"User: {ann.arn} is not authorized to perform: sagemaker:DescribeModel on resource: "
        f"{arn('model', 'none')} because no identity-based policy allows the "
        "sagemaker:DescribeModel action"
    )
    refused(sagemaker.list_endpoints)
    refused(sagemaker.delete_endpoint, EndpointName="none")
    refused(sagemaker.stop_training_job, TrainingJobName="none")
    refused(sagemaker.list_tags, ResourceArn=arn("endpoint", "none"))


def test_a_deny_counts_for_more(user: Any) -> None:
    sagemaker = user(allow("*"), deny("sagemaker:ListModels")).client("sagemaker")
    sagemaker.list_endpoints()
    assert refused(sagemaker.list_models).endswith(
        "with an explicit deny in an identity-based policy"
    )


def test_names_are_in_lower_case_in_policies(user: Any) -> None:
    sagemaker = user(allow("sagemaker:DescribeModel", arn("model", "houses-*"))).client("sagemaker")
    with pytest.raises(ClientError, match="Could not find model"):
        sagemaker.describe_model(ModelName="Houses-1")
    refused(sagemaker.describe_model, ModelName="other")
    refused(sagemaker.describe_endpoint_config, EndpointConfigName="houses-1")


def test_a_model_takes_a_role_that_may_be_passed(user: Any, local: Local) -> None:
    create = allow("sagemaker:CreateModel", arn("model", "passed*"))
    request = model("passed", local.address.role)
    ann = user(create)
    assert refused(ann.client("sagemaker").create_model, **request) == (
        f"User: {ann.arn} is not authorized to perform: iam:PassRole on resource: "
        f"{local.address.role} because no identity-based policy allows the iam:PassRole action"
    )
    for condition in ({"iam:PassedToService": "lambda.amazonaws.com"}, PASS):
        ann.may(create, allow("iam:PassRole", local.address.role, StringEquals=condition))
        if condition is not PASS:
            refused(ann.client("sagemaker").create_model, **request)
    assert ann.client("sagemaker").create_model(**request)["ModelArn"] == arn("model", "passed")
    other = role(local, "not-passed")
    refused(ann.client("sagemaker").create_model, **model("passed-2", other))


def test_a_job_takes_a_role_that_may_be_passed(user: Any, local: Local) -> None:
    ann = user(allow("sagemaker:CreateTrainingJob", arn("training-job", "*")))
    create = ann.client("sagemaker").create_training_job
    assert "iam:PassRole" in refused(create, **job("passed", local.address.role))


def test_tags_are_asked_for(user: Any, local: Local) -> None:
    tags = [{"Key": "team", "Value": "houses"}]
    request = model("tagged", local.address.role, Tags=tags)
    create = allow(["sagemaker:CreateModel", "iam:PassRole"])
    ann = user(create)
    assert "sagemaker:AddTags" in refused(ann.client("sagemaker").create_model, **request)
    only = {"ForAllValues:StringEquals": {"aws:TagKeys": ["cost"]}}
    ann.may(create, allow("sagemaker:AddTags", **only))
    refused(ann.client("sagemaker").create_model, **request)
    ann.may(create, allow("sagemaker:AddTags", StringEquals={"aws:RequestTag/team": "houses"}))
    ann.client("sagemaker").create_model(**request)


def test_an_endpoint_needs_its_configuration_too(user: Any) -> None:
    endpoint, of = arn("endpoint", "houses"), arn("endpoint-config", "houses")
    names = {"EndpointName": "houses", "EndpointConfigName": "houses"}
    actions = ["sagemaker:CreateEndpoint", "sagemaker:UpdateEndpoint"]
    ann = user()
    for resources, missing in (([], endpoint), ([endpoint], of), ([of], endpoint)):
        ann.may(*(allow(actions, each) for each in resources), allow("x:Y"))
        for call in ("create_endpoint", "update_endpoint"):
            assert missing in refused(getattr(ann.client("sagemaker"), call), **names)
    ann.may(allow(actions, [endpoint, of]))
    with pytest.raises(ClientError, match="Could not find"):
        ann.client("sagemaker").create_endpoint(**names)


def test_a_role_that_may_not_list_the_data_starts_no_job(local: Local) -> None:
    poor = role(local, "poor-job", allow("s3:GetObject"))
    with pytest.raises(ClientError, match=r'No S3 objects found .* has "s3:ListBucket" permission'):
        local.client("sagemaker").create_training_job(**job("poor", poor))


@pytest.mark.slow
def test_a_role_that_may_not_write_fails_the_job(local: Local) -> None:
    read = role(local, "read-only", allow(["s3:GetObject", "s3:ListBucket"]))
    sagemaker = local.client("sagemaker")
    sagemaker.create_training_job(**job("read-only", read))

    def described() -> Any:
        return sagemaker.describe_training_job(TrainingJobName="read-only")

    until(lambda: described()["TrainingJobStatus"] == "Failed", 60, "the end")
    assert "is not authorized to perform: s3:PutObject" in described()["FailureReason"]
    assert "assumed-role/read-only/SageMaker" in described()["FailureReason"]


def test_a_role_that_may_not_read_the_archive_makes_no_model(local: Local) -> None:
    poor = role(local, "poor-model")
    local.client("s3").put_object(Bucket=BUCKET, Key="one.tar.gz", Body=b"x")
    request = model("one", poor)
    request["PrimaryContainer"] = {"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/one.tar.gz"}
    with pytest.raises(ClientError, match="Could not access model data at s3://houses/one"):
        local.client("sagemaker").create_model(**request)


@pytest.mark.slow
def test_models_are_downloaded_by_the_execution_role(
    user: Any, local: Local, tmp_path: Path
) -> None:
    """A user deploys and invokes by what a policy says; the role reads what its own says."""
    execution = role(local, "execution", allow("s3:GetObject", f"arn:aws:s3:::{BUCKET}/models/a/*"))
    store = ModelStore(tmp_path / "store")
    store.root.mkdir(parents=True)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        tar.add(store().file, "model.ubj")
    for prefix in "ab":
        key = f"models/{prefix}/{TARGET}"
        local.client("s3").put_object(Bucket=BUCKET, Key=key, Body=archive.getvalue())
    deploying = [
        "sagemaker:CreateModel",
        "sagemaker:CreateEndpointConfig",
        "sagemaker:CreateEndpoint",
        "sagemaker:DescribeEndpoint",
    ]
    targets = {"sagemaker:TargetModel": ["a/*", "b/*"]}
    kinds = ("model", "endpoint-config", "endpoint")
    ann = user(
        allow(deploying, [arn(kind, "iam-*") for kind in kinds]),
        allow("iam:PassRole", execution, StringEquals=PASS),
        allow("sagemaker:InvokeEndpoint", arn("endpoint", "iam-houses"), StringLike=targets),
    )
    sagemaker = ann.client("sagemaker")
    sagemaker.create_model(**model("iam-houses", execution))
    sagemaker.create_endpoint_config(**config("iam-houses", "iam-houses"))
    sagemaker.create_endpoint(EndpointName="iam-houses", EndpointConfigName="iam-houses")

    def serves() -> bool:
        found = sagemaker.describe_endpoint(EndpointName="iam-houses")
        assert found["EndpointStatus"] in ("Creating", "InService"), found
        return bool(found["EndpointStatus"] == "InService")

    until(serves, 60, "the endpoint in service")
    refused(sagemaker.delete_endpoint, EndpointName="iam-houses")

    def invoke(target: str) -> Any:
        return ann.client("sagemaker-runtime").invoke_endpoint(
            EndpointName="iam-houses",
            TargetModel=target,
            ContentType="text/csv",
            Body=b"100,3,20,5,48,9\n",
        )

    assert invoke(f"a/{TARGET}")["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert "sagemaker:InvokeEndpoint" in refused(lambda: invoke(f"c/{TARGET}"))
    for target in (f"b/{TARGET}", "a/none.tar.gz"):
        with pytest.raises(ClientError) as caught:
            invoke(target)
        assert caught.value.response["Error"] == {
            "Code": "ValidationError",
            "Message": f"Failed to download model data(bucket: {BUCKET}, key: models/{target}). "
            "Please ensure that there is an object located at the URL and that the role passed to "
            "CreateModel has permissions to download the model.",
        }
