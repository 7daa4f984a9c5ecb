"""S3 as this package uses it: where something is, a client, and what goes wrong in plain words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)

from mme_training.errors import UserError

S3_ERRORS: Final = (ClientError, BotoCoreError)

_URI: Final = re.compile(r"s3://([^/]+)(?:/(.*))?", re.DOTALL)
_CREDENTIALS: Final = (
    "no usable AWS credentials: set AWS_PROFILE, log in with `aws sso login` or `aws configure`, "
    "or give the machine a role"
)
_REGION: Final = {"PermanentRedirect", "301", "AuthorizationHeaderMalformed", "BadRegion"}
_EXPIRED: Final = {
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "TokenRefreshRequired",
}
_UNKNOWN: Final = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"}
_ABSENT: Final = {"NoSuchKey", "404", "NotFound"}
_DENIED: Final = {"AccessDenied", "403", "Forbidden"}


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket and a key, or the beginning of keys."""

    bucket: str
    key: str = ""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    def below(self, name: str) -> Place:
        """The place called `name` within this one, which is a prefix."""
        prefix = f"{self.key.rstrip('/')}/" if self.key.strip("/") else ""
        return Place(self.bucket, prefix + name)


def is_uri(text: str) -> bool:
    """Whether `text` names something in S3."""
    return text.startswith("s3://")


def parse(uri: str) -> Place:
    """The place that ``s3://bucket/key`` names.

    Raises:
        UserError: it is none.
    """
    match = _URI.fullmatch(uri)
    if not match:
        raise UserError(f"{uri!r} is no place in S3: write s3://bucket/prefix/")
    return Place(match[1], match[2] or "")


def make_client(connections: int = 10) -> Any:
    """A client of S3 with the credentials and the region that boto3 finds.

    Raises:
        UserError: the profile does not exist.
    """
    config = Config(
        retries={"mode": "standard", "max_attempts": 5}, max_pool_connections=max(connections, 10)
    )
    try:
        return boto3.client("s3", config=config)
    except S3_ERRORS as error:
        raise UserError(explain(error)) from None


def download(client: Any, place: Place, target: Path) -> None:
    """Fetch one object into the file `target`.

    Raises:
        UserError: there is no such object, or it may not be read.
        OSError: `target` cannot be written.
    """
    try:
        client.download_file(place.bucket, place.key, str(target))
    except S3_ERRORS as error:
        raise UserError(explain(error, place)) from None


def code_of(error: BaseException) -> str:
    """The code of an error that S3 answered with; empty for another error."""
    if not isinstance(error, ClientError):
        return ""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_absent(error: BaseException) -> bool:
    """Whether S3 says that there is no such object."""
    return code_of(error) in _ABSENT


def explain(error: BaseException, place: Place | None = None) -> str:
    """What went wrong, where, and what to do about it; no secret is in it."""
    where = f"{place}: " if place else ""
    if isinstance(error, NoCredentialsError | PartialCredentialsError | CredentialRetrievalError):
        return where + _CREDENTIALS
    if isinstance(error, NoRegionError):
        return f"{where}no AWS region: set AWS_REGION, or one in the profile"
    if isinstance(error, ProfileNotFound):
        return f"{where}{error}: set AWS_PROFILE to one of `aws configure list-profiles`"
    if isinstance(error, EndpointConnectionError):
        return f"{where}S3 cannot be reached ({error}): check the network, AWS_REGION and a proxy"
    code = code_of(error)
    if not code:
        return f"{where}{error}"
    return where + _meaning(code, error, place)


def _meaning(code: str, error: Any, place: Place | None) -> str:
    bucket = place.bucket if place else "the bucket"
    operation = getattr(error, "operation_name", "the request")
    if code == "NoSuchBucket":
        return f"there is no bucket {bucket}: create it (aws s3 mb s3://{bucket}) or mend the name"
    if code in _ABSENT:
        return f"there is no such object: list what is there with aws s3 ls s3://{bucket}/"
    if code in _DENIED:
        return (
            f"{operation} is not allowed ({code}): the role or user needs s3:ListBucket on "
            f"{bucket} and s3:GetObject and s3:PutObject on its keys, and the bucket's policy "
            "and key of encryption must allow it"
        )
    if code in _REGION:
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        region = headers.get("x-amz-bucket-region")
        known = f": it is in {region}, set AWS_REGION={region}" if region else ": set AWS_REGION"
        return f"the bucket {bucket} is in another region than the one asked{known}"
    if code in _EXPIRED:
        return f"the AWS session has expired ({code}): log in again"
    if code in _UNKNOWN:
        return f"AWS does not accept the credentials ({code}): {_CREDENTIALS.partition(': ')[2]}"
    return f"S3 refuses {operation}: {code}: {error.response.get('Error', {}).get('Message', '')}"
