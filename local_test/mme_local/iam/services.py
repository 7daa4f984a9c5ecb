"""What IAM is asked for the operations of the services around SageMaker.

The action is the service's prefix and the operation's name. The resource is what the request names,
where that is easy to see; else it is ``*``, which only a policy for ``*`` allows.
https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from mme_local.iam.decisions import Ask
from mme_local.iam.policies import Context
from mme_local.iam.requests import Operation, listed
from mme_local.settings import ACCOUNT

Find = Callable[[str, str], str]
"""The ARN of IAM's, as ``("role", "SageMakerRole")``; names have paths there."""

_ARN_MEMBERS: Final = ("ResourceARN", "ResourceArn", "resourceArn")
_LOG_GROUPS: Final = (
    *("logGroupName", "logGroupIdentifier"),
    *("logGroupNames", "logGroupIdentifiers"),
)
_DESCRIBES_ALARMS: Final = ("DescribeAlarms", "DescribeAlarmHistory")
_IAM_MEMBERS: Final = {"RoleName": "role", "UserName": "user", "GroupName": "group"}
_IAM_ARNS: Final = ("PolicySourceArn", "PolicyArn")
_GROUP_AND_USER: Final = ("AddUserToGroup", "RemoveUserFromGroup")  # about the group
_SCALING: Final = ("Register", "Deregister", "Put", "Delete")
_CONTEXT: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "application-autoscaling:service-namespace": ("ServiceNamespace", _SCALING),
    "application-autoscaling:scalable-dimension": ("ScalableDimension", _SCALING),
    "cloudwatch:namespace": ("Namespace", ("PutMetricData",)),
    "iam:policyarn": ("PolicyArn", ("Attach", "Detach")),
    "iam:awsservicename": ("AWSServiceName", ("CreateServiceLinkedRole",)),
}
"""Condition keys, the members of requests that they are, and how the operations begin that AWS
gives them to: a condition on them allows no other."""


def asks(service: str, region: str, operation: Operation, find: Find) -> Iterator[Ask]:
    """What an operation needs.

    Args:
        service: as ``logs``.
        region: of the request.
        operation: what is asked for.
        find: ARNs of users, groups and roles.
    """
    members = operation.members
    resources = _RESOURCES.get(service, _nothing)(operation.name, members, find)
    context = _context(service, operation)
    for resource in resources or ["*"]:
        known = resource == "*" or resource.startswith("arn:")
        arn = resource if known else f"arn:aws:{service}:{region}:{ACCOUNT}:{resource}"
        yield Ask(f"{service}:{operation.name}", arn, context)


def _context(service: str, operation: Operation) -> Context:
    return {
        key: str(operation.members[member])
        for key, (member, begins) in _CONTEXT.items()
        if key.startswith(f"{service}:")
        and operation.name.startswith(begins)
        and member in operation.members
    }


def _nothing(_operation: str, members: Mapping[str, Any], _find: Find) -> list[str]:
    return [str(members[name]) for name in _ARN_MEMBERS if name in members]


def _ecr(operation: str, members: Mapping[str, Any], find: Find) -> list[str]:
    names = listed(members, "repositoryName") or listed(members, "repositoryNames")
    if not names and operation == "DescribeRepositories":
        return ["repository/*"]
    return [f"repository/{name}" for name in names] or _nothing(operation, members, find)


def _logs(operation: str, members: Mapping[str, Any], find: Find) -> list[str]:
    """Log groups; AWS has a stream in the ARN also where none is named: policies end in ``:*``."""
    groups = [group for member in _LOG_GROUPS for group in listed(members, member)]
    if operation == "DescribeLogGroups":
        groups = [""]
    stream = members.get("logStreamName", "")
    names = (str(group).rpartition(":log-group:")[2].removesuffix(":*") for group in groups)
    return [f"log-group:{name}:log-stream:{stream}" for name in names] or _nothing(
        operation, members, find
    )


def _cloudwatch(operation: str, members: Mapping[str, Any], find: Find) -> list[str]:
    if operation in _DESCRIBES_ALARMS:
        return ["alarm:*"]
    alarms = listed(members, "AlarmName") or listed(members, "AlarmNames")
    dashboards = listed(members, "DashboardName") or listed(members, "DashboardNames")
    return [
        *(f"alarm:{name}" for name in alarms if operation != "DescribeAlarmsForMetric"),
        *(f"arn:aws:cloudwatch::{ACCOUNT}:dashboard/{name}" for name in dashboards),
        *_nothing(operation, members, find),
    ]


def _autoscaling(operation: str, members: Mapping[str, Any], find: Find) -> list[str]:
    # AWS makes up the name in the ARN; a policy can name all of them only.
    if operation.startswith(("Describe", "Get")):
        return []
    return _nothing(operation, members, find) or ["scalable-target/*"]


def _kms(_operation: str, members: Mapping[str, Any], _find: Find) -> list[str]:
    keys = [members[name] for name in ("KeyId", "TargetKeyId") if name in members]
    aliases = [members["AliasName"]] if "AliasName" in members else []
    return [
        *aliases,
        *(key if key.startswith(("arn:", "alias/")) else f"key/{key}" for key in map(str, keys)),
    ]


def _iam(operation: str, members: Mapping[str, Any], find: Find) -> list[str]:
    if operation in _MADE:
        kind, member = _MADE[operation]
        path = members.get("Path", "/")
        return [f"arn:aws:iam::{ACCOUNT}:{kind}{path}{members.get(member, '')}"]
    if "InstanceProfileName" in members:  # a role is put into one, too
        name = members["InstanceProfileName"]
        return [f"arn:aws:iam::{ACCOUNT}:instance-profile/{name}"]
    named = [
        find(kind, members[member])
        for member, kind in _IAM_MEMBERS.items()
        if member in members and not (member == "UserName" and operation in _GROUP_AND_USER)
    ]
    return named or [members[name] for name in _IAM_ARNS if name in members]


_MADE: Final = {
    "CreateRole": ("role", "RoleName"),
    "CreateUser": ("user", "UserName"),
    "CreateGroup": ("group", "GroupName"),
    "CreatePolicy": ("policy", "PolicyName"),
}


def _sts(_operation: str, members: Mapping[str, Any], _find: Find) -> list[str]:
    return [members["RoleArn"]] if "RoleArn" in members else []


_RESOURCES: Final[Mapping[str, Callable[[str, Mapping[str, Any], Find], list[str]]]] = {
    "application-autoscaling": _autoscaling,
    "cloudwatch": _cloudwatch,
    "ecr": _ecr,
    "iam": _iam,
    "kms": _kms,
    "logs": _logs,
    "sts": _sts,
}
