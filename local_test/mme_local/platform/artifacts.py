"""The disk of an instance: archives of models, downloaded from S3 and unpacked.

A model that was unloaded stays on disk, so that it need not be downloaded again; when there is too
much, those go that were not used for longest. What is in S3 under the same key meanwhile is not
looked at: as on AWS, an archive that is overwritten may be served from here for as long as it is in
the cache (https://docs.aws.amazon.com/sagemaker/latest/dg/add-models-to-endpoint.html).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from mme_local.aws.clients import Clients
from mme_local.errors import LocalError
from mme_local.platform import errors
from mme_local.platform.archive import ArchiveError, extract

_LONGEST_TARGET: Final = 1024  # characters; botocore's TargetModelHeader
_CHUNK: Final = 1 << 20


class DownloadError(LocalError):
    """S3 did not give an object."""


class MissingObjectError(DownloadError):
    """There is no such object in S3, or no such bucket, or the role may not read it."""


@dataclass
class Artifact:
    """A model's archive, unpacked."""

    target: str
    directory: Path
    bytes: int
    used: int
    """Number of the use; they are counted by instance."""


def identify(target: str) -> str:
    """The name that the container knows a model by: the SHA-256 of its target model, in hex.

    AWS says of it only that it is opaque. It is the same on every instance and after every load.
    """
    return hashlib.sha256(target.encode()).hexdigest()


def check_target(target: str) -> None:
    """Refuse a target model that names no archive below the model's prefix.

    Raises:
        ApiError: ValidationError.
    """
    parts = target.split("/")
    if (
        not target.endswith(".tar.gz")
        or target.startswith("/")
        or ".." in parts
        or len(target) > _LONGEST_TARGET
        or not target.isprintable()
    ):
        raise errors.target_model_invalid(target)


def split_url(url: str) -> tuple[str, str]:
    """Bucket and key of ``s3://bucket/key``."""
    address = urlsplit(url, allow_fragments=False)
    # A "?" is part of a key, which is no URL's path.
    key = url.partition("://")[2].partition("/")[2]
    return address.netloc, key


class Artifacts:
    """The archives on one instance's disk; used on the event loop, works on threads.

    Args:
        clients: the execution role's.
        url: S3 prefix of all models, ending in ``/``.
        ml: the container's ``/opt/ml``, as a directory of this machine.
        disk_bytes: bytes of unpacked archives above which unused ones are deleted.
        largest: bytes that one archive may unpack to.
    """

    def __init__(self, clients: Clients, url: str, ml: Path, disk_bytes: int, largest: int) -> None:
        self._clients = clients
        self._bucket, self._prefix = split_url(url)
        self._models = ml / "models"
        self._disk_bytes = disk_bytes
        self._largest = largest
        self._ticks = itertools.count()
        self._fetching: dict[str, asyncio.Task[Artifact]] = {}
        self.on_disk: dict[str, Artifact] = {}
        """By target model."""

    @property
    def bytes(self) -> int:
        """What all of them take."""
        return sum(artifact.bytes for artifact in self.on_disk.values())

    async def fetch(self, target: str) -> tuple[Artifact, bool]:
        """Have a model's archive on disk.

        Returns:
            The archive, and whether it had to be downloaded.

        Raises:
            ApiError: ValidationError: there is no such object, or it is no good archive.
        """
        if artifact := self.on_disk.get(target):
            artifact.used = next(self._ticks)
            return artifact, False
        # A thread cannot be cancelled: who comes back after a time-out waits for the same one.
        fetching = self._fetching.get(target)
        if fetching is None:
            fetching = self._fetching[target] = asyncio.create_task(self._fetch(target))
            fetching.add_done_callback(lambda task: self._fetched(target, task))
        return await asyncio.shield(fetching), True

    def _fetched(self, target: str, task: asyncio.Task[Artifact]) -> None:
        del self._fetching[target]
        if not task.cancelled():
            task.exception()  # those who waited have it

    async def _fetch(self, target: str) -> Artifact:
        directory = self._models / identify(target) / "model"
        key = self._prefix + target
        try:
            size = await asyncio.to_thread(
                download, self._clients, self._bucket, key, directory, self._largest
            )
        except MissingObjectError:
            await self._forget(directory.parent)
            raise errors.download_failed(self._bucket, key) from None
        except ArchiveError as error:
            await self._forget(directory.parent)
            raise errors.extract_failed(f"s3://{self._bucket}/{key}", str(error)) from None
        except DownloadError as error:
            await self._forget(directory.parent)
            raise errors.internal_failure(str(error)) from None
        except OSError as error:
            await self._forget(directory.parent)
            reason = f"s3://{self._bucket}/{key} cannot be stored: {error.strerror}"
            raise errors.internal_failure(reason) from None
        artifact = Artifact(target, directory, size, next(self._ticks))
        self.on_disk[target] = artifact
        return artifact

    async def make_room(self, needed: Callable[[str], bool]) -> list[str]:
        """Delete the archives that were not used for longest while all take too much.

        Args:
            needed: whether a target model is loaded, or about to be.

        Returns:
            The target models whose archives are gone.
        """
        gone = []
        for artifact in sorted(self.on_disk.values(), key=lambda artifact: artifact.used):
            if self.bytes <= self._disk_bytes:
                break
            if not needed(artifact.target) and artifact.target in self.on_disk:
                await self.delete(artifact.target)
                gone.append(artifact.target)
        return gone

    async def delete(self, target: str) -> None:
        """Delete a model's archive, if it is there."""
        if artifact := self.on_disk.pop(target, None):
            await self._forget(artifact.directory.parent)

    async def close(self) -> None:
        """Wait for what is being downloaded; nothing is written afterwards."""
        await asyncio.gather(*self._fetching.values(), return_exceptions=True)

    async def _forget(self, directory: Path) -> None:
        # Out of the way at once: it may be asked for again while its files are deleted.
        gone = directory.with_name(f".gone-{next(self._ticks)}")
        with contextlib.suppress(OSError):
            directory.rename(gone)
        await asyncio.to_thread(shutil.rmtree, gone, ignore_errors=True)


def download(clients: Clients, bucket: str, key: str, into: Path, largest: int) -> int:
    """Download an archive and unpack it; takes a thread as long as it takes.

    Args:
        clients: the execution role's.
        bucket: of the object.
        key: of the object.
        into: the directory that it becomes.
        largest: bytes that it may unpack to; the archive itself may not be larger either.

    Returns:
        The bytes of all its files.

    Raises:
        MissingObjectError: there is no such object, or the role may not read it.
        DownloadError: S3 does not give it, and why.
        ArchiveError: it is refused; nothing is left of it.
    """
    into.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(prefix=".download-", dir=into.parent) as file:
        try:
            _copy(clients, bucket, key, file, largest)
        except (BotoCoreError, ClientError) as error:
            raise DownloadError(f"s3://{bucket}/{key} cannot be downloaded: {error}") from None
        file.flush()
        return extract(Path(file.name), into, largest)


def _copy(clients: Clients, bucket: str, key: str, file: IO[bytes], largest: int) -> None:
    try:
        body = clients.client("s3").get_object(Bucket=bucket, Key=key)["Body"]
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in {"NoSuchKey", "NoSuchBucket", "404", "AccessDenied", "403"}:
            raise MissingObjectError(f"s3://{bucket}/{key}: {code}") from None
        raise
    size = 0
    with body:
        while chunk := body.read(_CHUNK):
            size += len(chunk)
            if size > largest:
                raise ArchiveError(f"it is larger than {largest:,} bytes")
            file.write(chunk)
