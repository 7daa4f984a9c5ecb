"""Execution roles: they must exist in IAM, and let SageMaker assume them.

https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from mme_local.aws.clients import Clients
from mme_local.errors import validation_error

_PRINCIPAL: Final = "sagemaker.amazonaws.com"
_ACTION: Final = "sts:AssumeRole"


class Roles:
    """Looks roles up in IAM."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def check(self, arn: str) -> None:
        """Raise what AWS raises for a role that SageMaker cannot assume.

        Raises:
            ApiError: there is no such role, or it does not trust SageMaker.
        """
        if not await asyncio.to_thread(self._assumable, arn):
            raise validation_error(
                f"Could not assume role {arn}. Please ensure that the role exists and allows "
                f"principal '{_PRINCIPAL}' to assume the role."
            )

    def _assumable(self, arn: str) -> bool:
        iam = self._clients.client("iam")
        try:
            role = iam.get_role(RoleName=arn.rpartition("/")[2])["Role"]
        except iam.exceptions.NoSuchEntityException:
            return False
        return bool(role["Arn"] == arn) and trusts_sagemaker(role["AssumeRolePolicyDocument"])


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
    return any(service in (_PRINCIPAL, "*") for service in _several(principal))


def _allows_assuming(statement: Mapping[str, Any]) -> bool:
    return any(
        fnmatchcase(_ACTION.lower(), str(action).lower())
        for action in _several(statement.get("Action", []))
    )


def _several(value: Any) -> Iterable[Any]:
    """IAM writes a list of one also as that one."""
    return value if isinstance(value, list) else [value]
