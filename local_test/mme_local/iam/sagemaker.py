"""What IAM is asked for SageMaker's operations, and for InvokeEndpoint.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from mme_local.control import arns
from mme_local.control.records import Invocation
from mme_local.iam.decisions import Ask

_SERVICE: Final = "sagemaker.amazonaws.com"
_KINDS: Final = {
    "EndpointName": arns.ENDPOINT,  # first: what CreateEndpoint makes, and tags
    "EndpointConfigName": arns.ENDPOINT_CONFIG,
    "ModelName": arns.MODEL,
    "TrainingJobName": arns.TRAINING_JOB,
}
_ROLES: Final = ("ExecutionRoleArn", "RoleArn")


def invocation(asked: Invocation, region: str) -> list[Ask]:
    """InvokeEndpoint, of a model too.

    https://docs.aws.amazon.com/sagemaker/latest/dg/multi-model-endpoint-security.html
    """
    target = asked.target_model
    context = {} if target is None else {"sagemaker:targetmodel": target}
    resource = _arn(region, arns.ENDPOINT, asked.endpoint)
    return [Ask("sagemaker:InvokeEndpoint", resource, context)]


def operation(name: str, request: Mapping[str, Any], region: str) -> Iterator[Ask]:
    """An operation of the control plane: on each resource that it names, with its role and tags."""
    action = f"sagemaker:{name}"
    named = [_arn(region, kind, request[key]) for key, kind in _KINDS.items() if key in request]
    if "ResourceArn" in request:
        named = [_lower(request["ResourceArn"])]
    context = _tags(request.get("Tags", []), request.get("TagKeys", []))
    for resource in named or ["*"]:
        yield Ask(action, resource, context)
    if named and context and name.startswith("Create"):
        yield Ask("sagemaker:AddTags", named[0], context)
    for role in filter(None, map(request.get, _ROLES)):
        yield Ask("iam:PassRole", role, {"iam:passedtoservice": _SERVICE})


def _arn(region: str, kind: str, name: str) -> str:
    return _lower(arns.Arns(region).of(kind, name))


def _lower(arn: str) -> str:
    """An ARN as AWS writes it: the names of resources are in lower case, and policies' are not."""
    prefix, _, name = arn.partition("/")
    return f"{prefix}/{name.lower()}"


def _tags(tags: list[dict[str, str]], keys: list[str]) -> dict[str, str | tuple[str, ...]]:
    if not tags and not keys:
        return {}
    values = {f"aws:requesttag/{tag['Key'].lower()}": tag["Value"] for tag in tags}
    return {**values, "aws:tagkeys": tuple(keys or (tag["Key"] for tag in tags))}
