"""What requests name in S3: it must be there, for the execution role to see."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from botocore.exceptions import ClientError

from mme_local.aws.clients import Clients
from mme_local.errors import validation_error

_DENIED: Final = ("AccessDenied", "403")


class Objects:
    """Looks objects up in S3."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def check_archive(self, uri: str, role: str) -> None:
        """Raise what CreateModel raises for an archive that the role does not find."""
        try:
            found = await asyncio.to_thread(self._is_object, role, *bucket_and_key(uri))
        except ClientError as error:
            if error.response["Error"]["Code"] not in _DENIED:
                raise
            raise validation_error(
                f'Could not access model data at {uri}. Please ensure that the role "{role}" '
                "exists and that its trust relationship policy allows the action "
                '"sts:AssumeRole" for the service principal "sagemaker.amazonaws.com". Also ensure '
                'that the role has "s3:GetObject" permissions and that the object is located in '
                f"{self._clients.region}."
            ) from None
        if not found:
            raise validation_error(f"Could not find model data at {uri}.")

    async def check_prefix(self, uri: str, role: str) -> None:
        """Raise what CreateTrainingJob raises for a channel in which the role sees no objects."""
        bucket, prefix = bucket_and_key(uri)
        if not await asyncio.to_thread(self._has_objects, role, bucket, prefix):
            raise validation_error(
                f'No S3 objects found under S3 URL "{uri}" given in input data source. Please '
                f"ensure that the bucket exists in the selected region ({self._clients.region}), "
                f'that objects exist under that S3 prefix, and that the role "{role}" has '
                f'"s3:ListBucket" permissions on bucket "{bucket}".'
            )

    def _is_object(self, role: str, bucket: str, key: str) -> bool:
        try:
            self._s3(role).head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            return _unless_missing(error)
        return True

    def _has_objects(self, role: str, bucket: str, prefix: str) -> bool:
        try:
            page = self._s3(role).list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
        except ClientError as error:
            return error.response["Error"]["Code"] not in _DENIED and _unless_missing(error)
        return bool(page.get("KeyCount"))

    def _s3(self, role: str) -> Any:
        return self._clients.assuming(role).client("s3")


def _unless_missing(error: ClientError) -> bool:
    if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NoSuchBucket"):
        return False
    raise error


def bucket_and_key(uri: str) -> tuple[str, str]:
    """The parts of ``s3://bucket/key``.

    Raises:
        ApiError: it is another address; AWS also takes that of an object over HTTPS.
    """
    scheme, separator, rest = uri.partition("://")
    if (scheme, separator) != ("s3", "://"):
        raise validation_error(f"{uri} must be s3://bucket/key: S3 has no other address here.")
    bucket, _, key = rest.partition("/")
    return bucket, key
