"""Execution roles: they must exist in IAM, and let SageMaker assume them.

https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html
"""

from __future__ import annotations

import asyncio

from mme_local.aws.clients import Clients
from mme_local.errors import validation_error
from mme_training.execution_role import refusal, trusts_sagemaker


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
            raise validation_error(refusal(arn))

    def _assumable(self, arn: str) -> bool:
        iam = self._clients.client("iam")
        try:
            role = iam.get_role(RoleName=arn.rpartition("/")[2])["Role"]
        except iam.exceptions.NoSuchEntityException:
            return False
        return bool(role["Arn"] == arn) and trusts_sagemaker(role["AssumeRolePolicyDocument"])
