"""What requests name in S3: it must be there."""

from __future__ import annotations

import asyncio

from botocore.exceptions import ClientError

from mme_local.aws.clients import Clients
from mme_local.errors import validation_error


class Objects:
    """Looks objects up in S3."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def check_archive(self, uri: str) -> None:
        """Raise what CreateModel raises for an archive that is not there."""
        if not await asyncio.to_thread(self._is_object, *bucket_and_key(uri)):
            raise validation_error(f"Could not find model data at {uri}.")

    async def check_prefix(self, uri: str, role: str) -> None:
        """Raise what CreateTrainingJob raises for a channel that has no objects."""
        bucket, prefix = bucket_and_key(uri)
        if not await asyncio.to_thread(self._has_objects, bucket, prefix):
            raise validation_error(
                f'No S3 objects found under S3 URL "{uri}" given in input data source. Please '
                f"ensure that the bucket exists in the selected region ({self._clients.region}), "
                f'that objects exist under that S3 prefix, and that the role "{role}" has '
                f'"s3:ListBucket" permissions on bucket "{bucket}".'
            )

    def _is_object(self, bucket: str, key: str) -> bool:
        try:
            self._clients.client("s3").head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            return _unless_missing(error)
        return True

    def _has_objects(self, bucket: str, prefix: str) -> bool:
        try:
            page = self._clients.client("s3").list_objects_v2(
                Bucket=bucket, Prefix=prefix, MaxKeys=1
            )
        except ClientError as error:
            return _unless_missing(error)
        return bool(page.get("KeyCount"))


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
