"""Users of IAM with policies, their clients, and calls that they must not make."""

from __future__ import annotations

import itertools
import json
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from support.aws import REGION

_NUMBERS = itertools.count()


class User:
    """A user of IAM with one policy.

    Args:
        iam: the root's client.
        endpoints: by service; that of ``""`` is for all others.
        statements: of the policy.
    """

    def __init__(self, iam: Any, endpoints: dict[str, str], *statements: dict[str, Any]) -> None:
        self.name = f"ann-{next(_NUMBERS)}"
        self._iam = iam
        self._endpoints = endpoints
        self.arn = iam.create_user(UserName=self.name, Path="/team/")["User"]["Arn"]
        self._key = iam.create_access_key(UserName=self.name)["AccessKey"]
        self.key = str(self._key["AccessKeyId"])
        if statements:
            self.may(*statements)

    def may(self, *statements: dict[str, Any]) -> User:
        """Have this policy, and no other."""
        self._iam.put_user_policy(
            UserName=self.name, PolicyName="p", PolicyDocument=policy(*statements)
        )
        return self

    def client(self, service: str, version: str | None = None) -> Any:
        """Its client of a service, that signs in one of S3's versions."""
        return client(
            service,
            self._endpoints.get(service, self._endpoints[""]),
            version,
            aws_access_key_id=self._key["AccessKeyId"],
            aws_secret_access_key=self._key["SecretAccessKey"],
        )


def client(service: str, endpoint: str, version: str | None = None, **credentials: str) -> Any:
    """A client that asks once."""
    config = Config(
        retries={"total_max_attempts": 1},
        s3={"addressing_style": "path"},
        signature_version=version,
    )
    return boto3.client(
        service, endpoint_url=endpoint, region_name=REGION, config=config, **credentials
    )


def allow(action: Any, resource: Any = "*", **condition: Any) -> dict[str, Any]:
    """A statement; a condition is given as ``StringEquals={key: value}``."""
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    return {**statement, "Condition": condition} if condition else statement


def deny(action: Any, resource: Any = "*", **condition: Any) -> dict[str, Any]:
    """A statement that denies."""
    return {**allow(action, resource, **condition), "Effect": "Deny"}


def policy(*statements: dict[str, Any]) -> str:
    """A policy."""
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def refused(call: Any, **members: Any) -> str:
    """Make a call that must be refused for want of a permission; the message."""
    with pytest.raises(ClientError) as caught:
        call(**members)
    response = caught.value.response
    assert response["Error"]["Code"] in ("AccessDenied", "AccessDeniedException", "403"), response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 403
    return response["Error"]["Message"]
