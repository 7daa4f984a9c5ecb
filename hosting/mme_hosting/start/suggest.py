"""What an account suggests for mme.yaml: where models could be, and roles that would do."""

from __future__ import annotations

import os

from mme_hosting.aws import Aws
from mme_hosting.context import ROLE_VARIABLE, Context
from mme_hosting.settings import check
from mme_training.execution_role import trusts_sagemaker

_AWS_OWN = "/aws-service-role/"


def prefix(aws: Aws, name: str) -> str:
    """The prefix that an endpoint of this name has, where none is written.

    Raises:
        HostingError: the account cannot be asked for.
    """
    return str(Context(check({"name": name}, "mme init"), aws).models)


def roles(aws: Aws) -> list[str]:
    """ARNs of roles that SageMaker may assume; that of the environment alone, if there is one.

    Raises:
        HostingError: they may not be listed.
    """
    if found := os.environ.get(ROLE_VARIABLE):
        return [found]
    return sorted(
        role["Arn"]
        for page in aws.pages("iam", "ListRoles", "the account's roles")
        for role in page["Roles"]
        if not role["Path"].startswith(_AWS_OWN)
        and trusts_sagemaker(role.get("AssumeRolePolicyDocument"))
    )
