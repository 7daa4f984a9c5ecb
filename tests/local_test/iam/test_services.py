"""What IAM is asked, against AWS's own reference of actions and resources."""

from __future__ import annotations

import re
from typing import Any

import botocore.session
import parliament
import pytest

from mme_local.iam import s3, sagemaker, services
from mme_local.iam.requests import Operation

REFERENCE: dict[str, Any] = {service["prefix"]: service for service in parliament.iam_definition}
NAMES = {"servicequotas": "service-quotas"}
SERVICES = ("application-autoscaling", "cloudwatch", "ecr", "iam", "kms", "logs", "sts")
MEMBERS = {
    "ServiceNamespace": "sagemaker",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    "Namespace": "Mine",
    "AWSServiceName": "sagemaker.application-autoscaling.amazonaws.com",
    "PolicyArn": "arn:aws:iam::123456789012:policy/reading",
    "repositoryName": "houses",
    "logGroupName": "/aws/houses",
    "logStreamName": "a",
    "AlarmName": "houses",
    "DashboardName": "houses",
    "KeyId": "1234",
    "InstanceProfileName": "houses",
    "RoleName": "houses",
    "UserName": "ann",
    "GroupName": "team",
    "RoleArn": "arn:aws:iam::123456789012:role/houses",
}


def actions_of(prefix: str) -> dict[str, set[str]]:
    """AWS's actions, and the types of resources that they are about."""
    return {
        each["privilege"]: {
            resource["resource_type"].rstrip("*")
            for resource in each["resource_types"]
            if resource["resource_type"]
        }
        for each in REFERENCE[prefix]["privileges"]
    }


def patterns(prefix: str, types: set[str]) -> list[re.Pattern[str]]:
    """What the ARNs of such resources look like."""
    return [
        re.compile(re.sub(r"\\\$\\{\w+\\}", ".*", re.escape(each["arn"])))
        for each in REFERENCE[prefix]["resources"]
        if each["resource"] in types
    ]


def keys_of(prefix: str, name: str) -> set[str]:
    """The condition keys that AWS gives to an action."""
    (action,) = (each for each in REFERENCE[prefix]["privileges"] if each["privilege"] == name)
    types = action["resource_types"]
    return {key.lower() for resource in types for key in resource["condition_keys"]}


@pytest.mark.parametrize("prefix", SERVICES)
def test_resources_are_of_the_types_that_aws_names(prefix: str) -> None:
    model = botocore.session.get_session().get_service_model(NAMES.get(prefix, prefix))
    about_a_resource = 0
    for name, types in actions_of(prefix).items():
        if name not in model.operation_names:
            continue
        shape = model.operation_model(name).input_shape
        given = {key: MEMBERS[key] for key in MEMBERS if shape and key in shape.members}
        for ask in services.asks(prefix, "us-east-1", Operation(name, given), arn):
            assert ask.action == f"{prefix}:{name}"
            assert set(ask.context) <= keys_of(prefix, name), name
            if ask.resource != "*" and types:
                about_a_resource += 1
                known = patterns(prefix, types)
                assert any(one.fullmatch(ask.resource) for one in known), (name, ask.resource)
    assert about_a_resource


def arn(kind: str, name: str) -> str:
    return f"arn:aws:iam::123456789012:{kind}/{name}"


def test_all_of_s3s_actions_are_aws_own() -> None:
    known = {name.lower() for name in actions_of("s3")}
    ours = {*s3._ON_OBJECTS.values(), *s3._ON_BUCKETS.values()}
    ours |= {f"{verb}{name}" for name in s3._SETTINGS.values() for verb in ("Get", "Put")}
    assert {name for name in ours if name.lower() not in known} == set()


def test_sagemakers_resources_are_those_that_aws_requires() -> None:
    """As ``endpoint*`` and ``endpoint-config*`` of CreateEndpoint."""
    required = {
        each["privilege"]: {
            resource["resource_type"].rstrip("*")
            for resource in each["resource_types"]
            if resource["resource_type"].endswith("*")
        }
        for each in REFERENCE["sagemaker"]["privileges"]
    }
    model = botocore.session.get_session().get_service_model("sagemaker")
    for name in OPERATIONS:
        members = model.operation_model(name).input_shape.members
        request = {key: "x" for key in sagemaker._KINDS if key in members}
        asked = sagemaker.operation(name, request, "us-east-1")
        found = {ask.resource.rpartition(":")[2].partition("/")[0] for ask in asked}
        assert found == (required[name] or {"*"}), name


OPERATIONS = [
    f"{verb}{kind}"
    for kind in ("Model", "EndpointConfig", "Endpoint", "TrainingJob")
    for verb in ("Create", "Describe", "Delete")
    if (verb, kind) != ("Delete", "TrainingJob")
] + [
    *("ListModels", "ListEndpointConfigs", "ListEndpoints", "ListTrainingJobs"),
    *("UpdateEndpoint", "UpdateEndpointWeightsAndCapacities", "StopTrainingJob"),
]
