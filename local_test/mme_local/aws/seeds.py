"""What is there when the local SageMaker starts: a role that it may assume, and a bucket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from botocore.exceptions import ClientError

from mme_local.aws.clients import Clients
from mme_local.aws.environment import default_bucket
from mme_local.settings import ROLE_NAME

POLICY: Final = "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess"
_TRUST: Final = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "sagemaker.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}

_BUCKETS: Final = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": [
                "s3:ListBucket",
                "s3:GetObject",
                "s3:PutObject",
                "s3:DeleteObject",
                "s3:AbortMultipartUpload",
            ],
            "Resource": "arn:aws:s3:::*",
        }
    ],
}
"""As AWS's console adds it for "any S3 bucket": `POLICY` has those only that say "sagemaker"."""


def seed(clients: Clients) -> None:
    """Make the role and the default bucket, where a restored state has not brought them."""
    iam, s3 = clients.client("iam"), clients.client("s3")
    with _exists("EntityAlreadyExists"):
        iam.create_role(RoleName=ROLE_NAME, AssumeRolePolicyDocument=json.dumps(_TRUST))
        iam.attach_role_policy(RoleName=ROLE_NAME, PolicyArn=POLICY)
        iam.put_role_policy(
            RoleName=ROLE_NAME, PolicyName="AnyBucket", PolicyDocument=json.dumps(_BUCKETS)
        )
    with _exists("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
        create_bucket(s3, default_bucket(clients.region), clients.region)


def create_bucket(s3: Any, name: str, region: str) -> None:
    """Make a bucket; S3 wants the region named, but for the first."""
    place = {} if region == "us-east-1" else {"LocationConstraint": region}
    s3.create_bucket(Bucket=name, **({"CreateBucketConfiguration": place} if place else {}))


@contextmanager
def _exists(*codes: str) -> Iterator[None]:
    """Pass over the errors of these codes: what was to be made is there."""
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] not in codes:
            raise
