"""The API with an empty AWS around it: one role, one bucket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from support.aws import aws
from support.local_api import ROLE_NAME, TRUST, LocalApi, Server


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """AWS around SageMaker: a role, and the bucket `houses` with one archive and one table."""
    with aws() as endpoint:
        boto3.client("iam").create_role(RoleName=ROLE_NAME, AssumeRolePolicyDocument=TRUST)
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="houses")
        s3.put_object(Bucket="houses", Key="models/Chicago_IL.tar.gz", Body=b"archive")
        s3.put_object(Bucket="houses", Key="train/houses.csv", Body=b"1,2")
        yield endpoint


@pytest.fixture(scope="module")
def server(moto: str) -> Iterator[Server]:
    with Server() as started:
        yield started


@pytest.fixture
def api(moto: str, server: Server) -> Iterator[LocalApi]:
    with server.serving(moto) as served:
        yield served


@pytest.fixture
def sagemaker(api: LocalApi, server: Server) -> Any:
    return server.client("sagemaker")
