"""`mme deploy` against the real local SageMaker, from one state to another."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess

import pytest

from support.archives import tar
from support.deployments import Deployed, operations
from support.local_up import MME, Local, environment, state
from support.models import csv_of, make_rows, train

pytestmark = pytest.mark.slow

BROKEN = {"MME_HOSTS": "nonsense"}
"""A server that does not start."""


def requests(local: Local) -> list[str]:
    """The operations that have changed something in SageMaker."""
    return [each["operation"] for each in state(local)["events"] if each["kind"] == "request"]


def test_it_creates_and_the_second_time_only_reads(local: Local, houses: Deployed):
    said = houses.deploy()
    assert operations(said) == ["CreateModel", "CreateEndpointConfig", "CreateEndpoint"]
    assert (said["status"], said["instances"], said["changed"]) == ("InService", 1, True)
    assert "Creating ..." in said["stderr"]
    before = requests(local)
    again = houses.mme("deploy")
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout == f"{houses.name} in us-east-1 is as it should be: nothing to do\n"
    assert requests(local) == before


def test_a_dry_run_changes_nothing(local: Local, houses: Deployed):
    before = requests(local)
    ended = houses.mme("deploy", "--dry-run")
    assert ended.returncode == 0
    assert f"+ the endpoint {houses.name}" in ended.stdout
    assert requests(local) == before
    assert houses.status is None


def test_a_change_is_shown_and_made_beside_what_serves(houses: Deployed):
    first = houses.deploy()
    houses.describe_by(environment={"MME_HOSTS": "1"})
    ended = houses.mme("deploy")
    assert ended.returncode == 0, ended.stderr
    assert "+ environment.MME_HOSTS  1" in ended.stdout
    assert f"note: {first['configuration']} is kept, to go back to." in ended.stdout
    assert houses.described["EndpointConfigName"] != first["configuration"]
    houses.describe_by()
    back = houses.deploy()
    assert operations(back) == ["UpdateEndpoint"]  # nothing is made twice
    assert back["configuration"] == first["configuration"]
    houses.describe_by(environment={"MME_HOSTS": "2"})
    houses.deploy()
    assert len(houses.made()) == 6
    houses.describe_by(environment={"MME_HOSTS": "1", "MME_OTHER": "x"})
    last = houses.deploy()
    assert operations(last)[-4:] == ["DeleteEndpointConfig"] * 2 + ["DeleteModel"] * 2
    assert len(houses.made()) == 4


def test_instances_are_added_and_removed_without_an_update(houses: Deployed):
    houses.deploy()
    said = houses.deploy("--instances", "3")
    assert operations(said) == ["UpdateEndpointWeightsAndCapacities"]
    assert houses.count == 3
    houses.describe_by(environment={"MME_HOSTS": "1"}, instances=3)
    houses.deploy()
    assert houses.count == 3
    fewer = houses.deploy("--instances", "1")
    assert operations(fewer) == ["UpdateEndpointWeightsAndCapacities"]
    assert houses.count == 1


def test_autoscaling_and_alarms_come_change_and_go(houses: Deployed):
    houses.describe_by(
        autoscaling={"max": 2}, alarms={"latency_ms": 500, "cache_hit": None, "disk_percent": None}
    )
    said = houses.deploy()
    assert {"RegisterScalableTarget", "PutScalingPolicy"} < set(operations(said))
    prefix = f"{houses.name}/mme"
    kept = {f"{prefix}/server-errors": 5.0, f"{prefix}/memory": 95.0}
    assert houses.alarms == {**kept, f"{prefix}/latency": 500_000.0}
    assert houses.deploy()["steps"] == []
    houses.describe_by(autoscaling={"max": 3}, alarms={"latency_ms": None, "cache_hit": None})
    said = houses.deploy()
    assert operations(said) == ["RegisterScalableTarget", "PutMetricAlarm", "DeleteAlarms"]
    assert said["steps"][0]["changes"] == {"max": {"old": 2, "new": 3}}
    assert houses.alarms == {**kept, f"{prefix}/disk": 90.0}
    houses.describe_by()
    said = houses.deploy()
    assert {"DeleteScalingPolicy", "DeregisterScalableTarget"} < set(operations(said))
    assert (houses.alarms, houses.targets) == ({}, [])
    assert houses.deploy()["steps"] == []


def test_what_others_have_made_is_taken_over_only_by_yes(local: Local, houses: Deployed):
    model = houses.deploy("--dry-run")["steps"][0]["changes"]
    names = {"ModelName": houses.name, "ExecutionRoleArn": local.address.role}
    container = {
        "Image": model["image"]["new"],
        "Mode": "MultiModel",
        "ModelDataUrl": model["models"]["new"],
    }
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": houses.name,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    houses.sagemaker.create_model(**names, PrimaryContainer=container)
    houses.sagemaker.create_endpoint_config(
        EndpointConfigName=houses.name, ProductionVariants=[variant]
    )
    houses.sagemaker.create_endpoint(EndpointName=houses.name, EndpointConfigName=houses.name)
    houses.wait_for("InService")
    refused = houses.mme("deploy")
    assert refused.returncode == 2
    assert "~ production variant  AllTraffic -> main" in refused.stdout
    assert "give --yes to take it over" in refused.stderr
    assert houses.deploy("--yes")["status"] == "InService"
    assert houses.described["ProductionVariants"][0]["VariantName"] == "main"
    configs = houses.sagemaker.list_endpoint_configs(NameContains=houses.name)["EndpointConfigs"]
    assert houses.name in {config["EndpointConfigName"] for config in configs}


def test_on_a_terminal_it_asks(houses: Deployed):
    terminal, given = pty.openpty()
    process = subprocess.Popen(
        [str(MME), "deploy", "--local"],
        cwd=houses.directory,
        env=environment(houses.local.run),
        stdin=given,
        stdout=given,
        stderr=given,
    )
    os.close(given)
    said = b""
    with contextlib.suppress(OSError):  # which is how a terminal ends
        while piece := os.read(terminal, 4096):
            said += piece
            if said.endswith(b"apply? [y/N]: "):
                os.write(terminal, b"n\n")
    os.close(terminal)
    assert process.wait(30) == 2
    assert b"mme: nothing was done" in said
    assert houses.made() == set()


def test_tags_are_given_to_the_endpoint_that_is_there(houses: Deployed):
    houses.deploy()
    arn = houses.described["EndpointArn"]
    houses.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "mine", "Value": "1"}])
    houses.describe_by(tags={"team": "prices"})
    assert operations(houses.deploy()) == ["AddTags"]
    tags = houses.sagemaker.list_tags(ResourceArn=arn)["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"mine": "1", "team": "prices"}
    assert houses.deploy()["steps"] == []


def test_an_update_that_fails_leaves_what_serves_and_the_log_says_why(houses: Deployed):
    first = houses.deploy()
    houses.describe_by(environment=BROKEN)
    ended = houses.mme("deploy")
    assert ended.returncode == 1
    assert f"SageMaker has gone back: the endpoint serves with {first['configuration']}" in (
        ended.stderr
    )
    assert "ping health check" in ended.stderr
    assert "MME_HOSTS" in ended.stderr.partition("the last lines of its log")[2]
    assert houses.status == "InService"
    houses.describe_by()
    assert houses.deploy()["steps"] == []


def test_a_creation_that_fails_is_explained_and_repaired(houses: Deployed):
    houses.describe_by(environment=BROKEN)
    said = houses.deploy(status=1)
    assert "Failed; the next mme deploy deletes it and creates it anew" in said["failure"]
    assert any("MME_HOSTS" in line for line in said["log"])
    assert houses.status == "Failed"
    houses.describe_by()
    repaired = houses.deploy()
    assert operations(repaired)[-2:] == ["DeleteEndpoint", "CreateEndpoint"]
    assert houses.status == "InService"


def test_an_image_that_is_refused_ends_it_before_anything_is_made(houses: Deployed):
    ended = houses.mme("deploy", "--image", "123456789012.dkr.ecr.us-east-1.amazonaws.com/other:1")
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"mme: CreateModel for the model {houses.name}-")
    assert houses.made() == set()


@pytest.fixture
def checked(local: Local, houses: Deployed) -> Deployed:
    """With a model, and a request that it answers."""
    booster = houses.directory / "model.ubj"
    train().save_model(booster)
    archive = tar(houses.directory / "a.tar.gz", {"model.ubj": booster.read_bytes()})
    bucket = local.address.bucket
    key = f"{houses.name}/models/chicago.tar.gz"
    local.client("s3").upload_file(str(archive), bucket, key)
    (houses.directory / "good.csv").write_bytes(csv_of(make_rows(2)))
    (houses.directory / "bad.csv").write_text("no,numbers,at,all")
    return houses


def with_check(houses: Deployed, file: str, **settings: object) -> None:
    check = {"model": "chicago.tar.gz", "file": file}
    houses.describe_by(health_check=check, **settings)


def test_a_health_check_that_fails_takes_an_update_back(checked: Deployed):
    with_check(checked, "good.csv")
    first = checked.deploy()
    assert "has answered the health check" in first["stderr"]
    with_check(checked, "bad.csv", environment={"MME_HOSTS": "1"}, alarms={}, instances=2)
    said = checked.deploy(status=1)
    assert f"The endpoint serves with {first['configuration']} again" in said["failure"]
    assert operations(said) == ["CreateModel", "CreateEndpointConfig", "UpdateEndpoint"]
    assert checked.described["EndpointConfigName"] == first["configuration"]
    assert (checked.count, checked.alarms) == (1, {})
    with_check(checked, "good.csv", environment={"MME_HOSTS": "1"})
    assert checked.deploy()["configuration"] != first["configuration"]


def test_what_others_have_made_is_given_back_as_it_was(checked: Deployed):
    checked.deploy()
    made = checked.described["EndpointConfigName"]
    config = checked.sagemaker.describe_endpoint_config(EndpointConfigName=made)
    variant = {**config["ProductionVariants"][0], "VariantName": "AllTraffic"}
    names = {"EndpointName": checked.name, "EndpointConfigName": checked.name}
    checked.sagemaker.create_endpoint_config(
        EndpointConfigName=checked.name, ProductionVariants=[variant]
    )
    checked.sagemaker.update_endpoint(**names)
    checked.wait_for("InService")
    two = {"VariantName": "AllTraffic", "DesiredInstanceCount": 2}
    checked.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=checked.name, DesiredWeightsAndCapacities=[two]
    )
    checked.wait_for("InService")
    with_check(checked, "bad.csv")
    said = checked.deploy("--yes", status=1)
    assert f"The endpoint serves with {checked.name} again" in said["failure"]
    assert checked.count == 2


def test_an_update_that_is_taken_back_leaves_the_autoscaling_as_it_was(checked: Deployed):
    with_check(checked, "good.csv", autoscaling={"max": 2, "invocations_per_instance": 7.0})
    checked.deploy()
    with_check(checked, "bad.csv", autoscaling={"max": 3}, instance_type="ml.c5.large")
    said = checked.deploy(status=1)
    assert "is autoscaled as before" in said["stderr"]
    done = [step["operation"] for step in said["steps"] if step["done"]]
    assert done[-3:] == ["DeleteScalingPolicy", "DeregisterScalableTarget", "UpdateEndpoint"]
    with_check(checked, "good.csv", autoscaling={"max": 2, "invocations_per_instance": 7.0})
    assert checked.deploy()["steps"] == []


def test_one_that_is_killed_is_still_taken_back_by_the_next(checked: Deployed):
    with_check(checked, "good.csv")
    first = checked.deploy()
    with_check(checked, "bad.csv", environment={"MME_HOSTS": "1"})
    killed = checked.start("deploy")
    checked.wait_for("Updating")
    killed.kill()
    killed.communicate()
    said = checked.deploy(status=1)
    assert "taken up" in said["stderr"]
    assert f"The endpoint serves with {first['configuration']} again" in said["failure"]


def test_a_health_check_without_its_file_is_refused_before_anything_is_done(checked: Deployed):
    with_check(checked, "absent.csv")
    ended = checked.mme("deploy", "--json")
    assert ended.returncode == 2
    assert "absent.csv cannot be read" in ended.stderr
    assert json.loads(ended.stdout)["changed"] is False
    assert checked.made() == set()
