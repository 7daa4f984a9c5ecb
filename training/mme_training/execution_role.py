"""Execution roles: SageMaker takes one that it may assume.

https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

SAGEMAKER: Final = "sagemaker.amazonaws.com"
"""The principal that assumes it."""

_ACTION: Final = "sts:AssumeRole"


def refusal(arn: str) -> str:
    """What SageMaker answers to a request with a role that it cannot assume."""
    return (
        f"Could not assume role {arn}. Please ensure that the role exists and allows "
        f"principal '{SAGEMAKER}' to assume the role."
    )


def trusts_sagemaker(policy: Any) -> bool:
    """Whether a role's trust policy lets SageMaker assume it; one that is no policy does not."""
    if not isinstance(policy, Mapping):
        return False
    effects = {
        statement.get("Effect")
        for statement in _several(policy.get("Statement", []))
        if isinstance(statement, Mapping)
        and _names_sagemaker(statement.get("Principal"))
        and _allows_assuming(statement)
    }
    return effects == {"Allow"}


def _names_sagemaker(principal: Any) -> bool:
    if isinstance(principal, Mapping):
        principal = principal.get("Service", [])
    return any(service in (SAGEMAKER, "*") for service in _several(principal))


def _allows_assuming(statement: Mapping[str, Any]) -> bool:
    return any(
        fnmatchcase(_ACTION.lower(), str(action).lower())
        for action in _several(statement.get("Action", []))
    )


def _several(value: Any) -> Iterable[Any]:
    """IAM writes a list of one also as that one."""
    return value if isinstance(value, list) else [value]
