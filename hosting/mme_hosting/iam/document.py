"""Statements of policies, and the document that they make."""

from __future__ import annotations

from typing import Any, Final

from mme_hosting.context import Context
from mme_hosting.iam.arns import Arns

Document = dict[str, Any]
Statement = dict[str, Any]

ANYTHING: Final = ["*"]
"""The resource of actions that IAM does not let be limited."""

ECR_LOGIN: Final = ("ecr:GetAuthorizationToken",)
ECR_PULL: Final = (
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:GetDownloadUrlForLayer",
)

_VERSION: Final = "2012-10-17"


def document(*statements: Statement | None) -> Document:
    """The policy of these statements; None is one that does not apply."""
    return {"Version": _VERSION, "Statement": [each for each in statements if each]}


def allow(
    sid: str,
    actions: tuple[str, ...],
    resources: list[str],
    condition: dict[str, dict[str, Any]] | None = None,
) -> Statement:
    """A statement that allows `actions` on `resources`."""
    statement: Statement = {
        "Sid": sid,
        "Effect": "Allow",
        "Action": list(actions),
        "Resource": resources,
    }
    return {**statement, "Condition": condition} if condition else statement


def allow_key(
    sid: str,
    context: Context,
    actions: tuple[str, ...],
    condition: dict[str, dict[str, Any]] | None = None,
) -> Statement | None:
    """A statement about the endpoint's key; None if it has none.

    An alias is no resource of these actions. It is a condition on any key:
    https://docs.aws.amazon.com/kms/latest/developerguide/alias-authorization.html
    """
    key = context.deployment.kms_key
    if not key:
        return None
    arns = Arns(context)
    name = key.rpartition(":")[2]
    if name.startswith("alias/"):
        of_alias = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": name}}
        return allow(sid, actions, [arns.of("kms", "key/*")], {**of_alias, **(condition or {})})
    resource = key if key.startswith("arn:") else arns.of("kms", f"key/{name}")
    return allow(sid, actions, [resource], condition)
