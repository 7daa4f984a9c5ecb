"""`mme delete` and `mme endpoints` against the real local SageMaker."""

from __future__ import annotations

import json

import pytest

from support.deployments import Deployed, operations
from support.local_up import Local

pytestmark = pytest.mark.slow


def deleted(houses: Deployed, *options: str) -> dict:
    ended = houses.mme("delete", "--json", "--yes", *options)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_all_that_was_made_goes_and_the_archives_stay(local: Local, houses: Deployed):
    houses.describe_by(autoscaling={"max": 2}, alarms={})
    houses.deploy()
    s3, bucket = local.client("s3"), local.address.bucket
    key = f"{houses.name}/models/chicago.tar.gz"
    s3.put_object(Bucket=bucket, Key=key, Body=b"x" * 2048)
    trained = f"{houses.name}/models-training/archives/chicago.tar.gz"
    s3.put_object(Bucket=bucket, Key=trained, Body=b"x" * 1024)
    houses.sagemaker.create_model(
        ModelName=f"{houses.name}-of-mine",
        ExecutionRoleArn=local.address.role,
        PrimaryContainer={
            "Image": "xgboost-mme:cpu",
            "Mode": "MultiModel",
            "ModelDataUrl": f"s3://{bucket}/{houses.name}/models/",
        },
    )
    said = deleted(houses)
    order = [name for name in operations(said) if name != "DeleteAlarms"]
    assert order == [
        "DeleteScalingPolicy",
        "DeregisterScalableTarget",
        "DeleteEndpoint",
        "DeleteEndpointConfig",
        "DeleteModel",
    ]
    assert houses.status is None
    assert houses.made() == {f"{houses.name}-of-mine"}
    assert (houses.alarms, houses.targets) == ({}, [])
    assert s3.head_object(Bucket=bucket, Key=key)["ContentLength"] == 2048
    archives, training, logs, image = said["stays"]
    assert (archives["bytes"], training["bytes"]) == (2048, 1024)
    assert archives["usd_per_month"] == pytest.approx(2048 / 2**30 * 0.023)
    assert logs["what"].endswith(f"/aws/sagemaker/Endpoints/{houses.name}")
    assert "xgboost-mme" in image["what"]
    again = houses.mme("delete", "--yes")
    assert again.returncode == 0
    assert "nothing is there" in again.stdout
    houses.sagemaker.delete_model(ModelName=f"{houses.name}-of-mine")


def test_without_a_terminal_it_must_be_told_to(houses: Deployed):
    houses.deploy()
    ended = houses.mme("delete")
    assert ended.returncode == 2
    assert ended.stderr == "mme: there is nobody to ask: give --yes\n"
    assert houses.mme("delete", "--dry-run").returncode == 0
    assert houses.status == "InService"


def test_one_that_is_being_created_is_waited_for(houses: Deployed):
    started = houses.start("deploy")
    houses.wait_for("Creating")
    started.kill()
    started.communicate()
    deleted(houses)
    assert houses.status is None


def test_two_at_once_both_end_well(houses: Deployed):
    houses.deploy()
    both = [houses.start("delete", "--yes") for _ in range(2)]
    ended = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    assert (houses.status, houses.made()) == (None, set())


def test_endpoints_are_listed_with_what_they_run(houses: Deployed):
    houses.describe_by(autoscaling={"min": 1, "max": 3})
    houses.deploy()
    ended = houses.mme("endpoints")
    (line,) = [line for line in ended.stdout.splitlines() if houses.name in line]
    assert "ml.m5.large x 1" in line
    assert "1 to 3" in line
    assert f"/{houses.name}/models/" in line
    (row,) = json.loads(houses.mme("endpoints", houses.name, "--json").stdout)
    assert (row["status"], row["multi_model"]) == ("InService", True)


def test_an_endpoint_that_is_not_there_is_said_so(houses: Deployed):
    ended = houses.mme("endpoints", houses.name)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"mme: there is no endpoint {houses.name} in us-east-1")
