"""The Terraform module, by Terraform itself: what it asks of AWS, and what `mme deploy` asks."""

import base64
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse

from mme_hosting.deploy.resources import resources
from mme_hosting.iam.policies import execution, trust
from support import local_up, terraform
from support.aws import aws
from support.endpoints import EVERY, FULL, PLAIN, context, statements
from support.serving import until

BUCKET: dict[str, Any] = {**PLAIN, "name": "a-whole-bucket", "models": "s3://houses-of-example"}
ROLES = {name: {**FULL, "name": name} for name in ("with-role", "with-default-prefix")}
del ROLES["with-default-prefix"]["models"], ROLES["with-default-prefix"]["vpc"]
ROLES["with-role-and-bucket"] = {**BUCKET, "name": "with-role-and-bucket"}
ENDPOINTS = {**EVERY, "a-whole-bucket": BUCKET}

# Settings of which a model or a configuration is made, and another value.
CHANGES: dict[str, Any] = {
    "image": f"{PLAIN['image']}-2",
    "models": "s3://houses-of-example/other/",
    "role": f"{PLAIN['role']}-2",
    "instance_type": "ml.m5.xlarge",
    "instances": 2,
    "environment": {"MME_HOSTS": "3"},
    "cache_models": False,
    "network_isolation": True,
    "vpc": FULL["vpc"],
    "kms_key": FULL["kms_key"],
    "volume_gb": 7,
    "startup_seconds": 100,
    "inference_ami": FULL["inference_ami"],
}
OF_MODEL = {
    "image", "models", "role", "environment", "cache_models", "network_isolation", "vpc"
}  # fmt: skip


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[tuple[str, Any]]]:
    """All endpoints are made; yield what was asked in JSON: operations and requests."""
    directory = tmp_path_factory.mktemp("terraform")
    created = {name: {**given, "role": None, "create_role": True} for name, given in ROLES.items()}
    terraform.start(directory, {**ENDPOINTS, **created})
    with aws() as endpoint, pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)  # where moto records
        # Terraform asks for the tags of what scales, and this moto does not know the question.
        patch.setattr(
            ApplicationAutoScalingResponse,
            "list_tags_for_resource",
            lambda _: '{"Tags": {}}',
            raising=False,
        )
        _recorder(endpoint, "start-recording", "POST")
        terraform.run(directory, "apply", "-auto-approve", "-input=false", "-no-color")
        _recorder(endpoint, "stop-recording", "POST")
        yield list(_in_json(_recorder(endpoint, "download-recording", "GET")))


def _recorder(endpoint: str, verb: str, method: str) -> str:
    request = urllib.request.Request(f"{endpoint}/moto-api/recorder/{verb}", method=method)
    with urllib.request.urlopen(request) as answer:
        return str(answer.read().decode())


def _in_json(recording: str) -> Iterator[tuple[str, Any]]:
    for line in recording.splitlines():
        entry = json.loads(line)
        target = entry["headers"].get("X-Amz-Target", "")
        if target:
            body = entry["body"]
            yield (
                target.partition(".")[2],
                json.loads(base64.b64decode(body) if entry["body_encoded"] else body),
            )


def _asked(requests: list[tuple[str, Any]], operation: str, member: str, value: str) -> Any:
    """The one such request."""
    found = [each for name, each in requests if name == operation and each[member] == value]
    assert len(found) <= 1
    return found[0] if found else None


@pytest.fixture(params=list(ENDPOINTS))
def settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    return ENDPOINTS[request.param]


def test_the_module_is_valid(tmp_path: Path) -> None:
    directory = terraform.start(tmp_path, EVERY)
    terraform.run(directory, "validate", "-no-color")
    terraform.run(directory, "fmt", "-check", "-diff", str(terraform.MODULE))


def test_the_endpoint(requests: list[tuple[str, Any]], settings: dict[str, Any]) -> None:
    expected = resources(context(settings))
    endpoint = _asked(requests, "CreateEndpoint", "EndpointName", settings["name"])
    config = _asked(
        requests, "CreateEndpointConfig", "EndpointConfigName", endpoint["EndpointConfigName"]
    )
    [variant] = config["ProductionVariants"]
    model = _asked(requests, "CreateModel", "ModelName", variant["ModelName"])

    for name in (variant["ModelName"], endpoint["EndpointConfigName"]):
        assert name.startswith(f"{settings['name']}-")
    # The provider leaves out a false, writes another one, and has no metrics yet.
    model.setdefault("EnableNetworkIsolation", False)
    assert variant.pop("EnableSSMAccess", False) is False
    del expected.config["MetricsConfig"]

    of_mme = {**expected.config["ProductionVariants"][0], "ModelName": variant["ModelName"]}
    assert _plain(model) == _plain({**expected.model, "ModelName": variant["ModelName"]})
    assert _plain({**config, "ProductionVariants": [variant]}) == _plain(
        {
            **expected.config,
            "EndpointConfigName": endpoint["EndpointConfigName"],
            "ProductionVariants": [of_mme],
        }
    )
    assert _plain(endpoint) == _plain(
        {**expected.endpoint, "EndpointConfigName": endpoint["EndpointConfigName"]}
    )


def test_scaling(requests: list[tuple[str, Any]], settings: dict[str, Any]) -> None:
    expected = resources(context(settings))
    resource = f"endpoint/{settings['name']}/variant/main"

    assert _asked(requests, "RegisterScalableTarget", "ResourceId", resource) == expected.target
    policy = _asked(requests, "PutScalingPolicy", "ResourceId", resource)
    if policy:
        tracking = policy["TargetTrackingScalingPolicyConfiguration"]
        assert tracking.pop("DisableScaleIn", False) is False
    assert policy == expected.policy


def test_alarms(requests: list[tuple[str, Any]], settings: dict[str, Any]) -> None:
    expected = {each["AlarmName"]: each for each in resources(context(settings)).alarms}
    cloudwatch = boto3.client("cloudwatch")
    pages = cloudwatch.get_paginator("describe_alarms").paginate(
        AlarmNamePrefix=f"{settings['name']}/"
    )
    made = {each["AlarmName"]: each for page in pages for each in page["MetricAlarms"]}

    assert made.keys() == expected.keys()
    for name, alarm in made.items():
        tags = cloudwatch.list_tags_for_resource(ResourceARN=alarm["AlarmArn"])["Tags"]
        wanted = {"AlarmActions": [], "Tags": [], **expected[name]}
        assert _plain({key: {**alarm, "Tags": tags}[key] for key in wanted}) == _plain(wanted)
        assert ("Statistic" in alarm) == ("Statistic" in wanted)


@pytest.mark.parametrize("name", ROLES)
def test_the_execution_role(requests: list[tuple[str, Any]], name: str) -> None:
    of_mme = context(ROLES[name])
    iam = boto3.client("iam")
    role = iam.get_role(RoleName=f"{name}-execution")["Role"]
    policy = iam.get_role_policy(RoleName=f"{name}-execution", PolicyName="execution")
    models = [each for operation, each in requests if operation == "CreateModel"]

    assert statements(role["AssumeRolePolicyDocument"]) == statements(trust(of_mme))
    assert statements(policy["PolicyDocument"]) == statements(execution(of_mme))
    assert role["Arn"] in [
        each["ExecutionRoleArn"] for each in models if each["ModelName"].startswith(f"{name}-")
    ]


def test_a_change_is_made_beside_what_was_before(tmp_path: Path) -> None:
    """Two of one name cannot be there at once: whatever is in them is also in their names."""
    changed = {name: {**PLAIN, name: value} for name, value in CHANGES.items()}
    directory = terraform.start(tmp_path, {"before": PLAIN, **changed})
    with aws():
        values = terraform.planned(directory)

    def named(case: str, kind: str) -> str:
        return str(values[f"module.{case}.aws_sagemaker_{kind}.this"]["name"])

    for name in CHANGES:
        assert (named(name, "model") != named("before", "model")) == (name in OF_MODEL)
        assert named(name, "endpoint_configuration") != named("before", "endpoint_configuration")
        assert named(name, "endpoint") == PLAIN["name"]


def test_what_other_resources_give_need_not_be_known(tmp_path: Path) -> None:
    """ARNs and ids that are known only once those resources are made."""
    others = {
        "aws_sns_topic": {"on_call": {"name": "on-call"}},
        "aws_kms_key": {"volumes": {"description": "Volumes"}},
        "aws_iam_role": {"own": {"name": "own", "assume_role_policy": "{}"}},
        "aws_security_group": {"own": {"name": "own"}},
    }
    given = {
        **PLAIN,
        "role": "${aws_iam_role.own.arn}",
        "kms_key": "${aws_kms_key.volumes.arn}",
        "vpc": {"subnets": ["subnet-0a1"], "security_groups": ["${aws_security_group.own.id}"]},
        "alarms": {"notify": "${aws_sns_topic.on_call.arn}", "cache_hit": None},
    }
    (tmp_path / "others.tf.json").write_text(json.dumps({"resource": others}))
    directory = terraform.start(tmp_path, {"houses": given})
    with aws():
        values = terraform.planned(directory)

    alarms = [address for address in values if "aws_cloudwatch_metric_alarm" in address]
    assert len(alarms) == 4


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": "-"}, "A name has letters"),
        ({"image": "python:3.12"}, "dkr.ecr"),
        ({"models": "houses/"}, "s3://BUCKET"),
        ({"kms_key": "alias/houses"}, "takes no alias"),
        ({"autoscaling": {"min": 3, "max": 2}}, "less than the min"),
        ({"alarms": {"latency": 3}}, "Known are notify"),
        ({"role": None}, "not both"),
        ({"create_role": True}, "not both"),
    ],
)
def test_mistakes_are_refused(tmp_path: Path, wrong: dict[str, Any], said: str) -> None:
    directory = terraform.start(tmp_path, {"houses": {**PLAIN, **wrong}})
    with aws(), pytest.raises(AssertionError) as failure:
        terraform.planned(directory)
    assert said in " ".join(str(failure.value).split())


@pytest.mark.slow
def test_a_running_endpoint_moves_to_what_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the local SageMaker: an endpoint is updated, and what it ran before is deleted."""
    apply = ("apply", "-auto-approve", "-input=false", "-no-color")
    before = {"name": "houses", "image": PLAIN["image"], "create_role": True, "alarms": {}}
    directory = terraform.start(tmp_path, {"houses": before})
    with local_up.up(tmp_path) as local:
        _lead_to(local, monkeypatch)
        sagemaker = local.client("sagemaker")

        def there() -> tuple[Any, list[str], list[str]]:
            configs = sagemaker.list_endpoint_configs()["EndpointConfigs"]
            return (
                sagemaker.describe_endpoint(EndpointName="houses"),
                [each["EndpointConfigName"] for each in configs],
                [each["ModelName"] for each in sagemaker.list_models()["Models"]],
            )

        terraform.run(directory, *apply)
        was, old_configs, old_models = there()
        assert "No changes" in terraform.run(directory, "plan", "-input=false", "-no-color")

        # A server with this setting does not start.
        terraform.call(directory, {"houses": {**before, "environment": {"MME_HOSTS": "few"}}})
        with pytest.raises(AssertionError, match="endpoint serves as before"):
            terraform.run(directory, *apply)
        now, configs, models = there()
        assert (now["EndpointStatus"], now["EndpointConfigName"]) == ("InService", *old_configs)
        assert set(old_configs) < set(configs)
        assert set(old_models) < set(models)

        terraform.call(directory, {"houses": {**before, "environment": {"MME_HOSTS": "1"}}})
        terraform.run(directory, *apply)
        now, configs, models = there()
        assert now["EndpointStatus"] == "InService"
        assert now["CreationTime"] == was["CreationTime"]
        assert [now["EndpointConfigName"]] == configs != old_configs
        assert len(models) == 1
        assert models != old_models

        terraform.run(directory, "destroy", *apply[1:])
        until(lambda: not sagemaker.list_endpoints()["Endpoints"], 60, "no endpoint")
        assert sagemaker.list_models()["Models"] == []


def _lead_to(local: local_up.Local, patch: pytest.MonkeyPatch) -> None:
    """The environment in which Terraform finds it."""
    for name, value in {
        "AWS_ENDPOINT_URL": local.address.aws,
        "AWS_ENDPOINT_URL_SAGEMAKER": local.address.sagemaker,
        "AWS_REGION": local_up.REGION,
        "AWS_ACCESS_KEY_ID": "LOCALSAGEMAKER000000",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "NO_PROXY": "127.0.0.1",
    }.items():
        patch.setenv(name, value)
    patch.delenv("AWS_SESSION_TOKEN", raising=False)


def _plain(request: Any) -> Any:
    """Without the order of lists, which are sets in all of these requests."""
    if isinstance(request, dict):
        return {key: _plain(value) for key, value in request.items()}
    if isinstance(request, list):
        return sorted((_plain(each) for each in request), key=str)
    return request
