"""Files from S3 and to S3, with AWS's words where that fails."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from mme_local.aws.clients import Clients
from mme_local.jobs.errors import StoppedError
from mme_local.jobs.request import Location

FAILURES: Final = (Boto3Error, BotoCoreError, ClientError, OSError)
"""What a transfer may raise."""
_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Transfer:
    """One file, and where it is in S3."""

    location: Location
    path: Path


class Store:
    """S3, for one job; any thread may use it.

    Args:
        clients: the job's role's.
        stop: set when the job is stopped, which ends downloads.
    """

    def __init__(self, clients: Clients, stop: threading.Event) -> None:
        self._clients = clients
        self._stop = stop

    @property
    def _client(self) -> Any:
        return self._clients.client("s3")

    def keys(self, prefix: Location) -> list[str]:
        """The keys that begin with the prefix, sorted, without those that stand for folders.

        Raises:
            ClientError: S3 refuses: there may be no such bucket.
        """
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=prefix.bucket, Prefix=prefix.key
        )
        found = (item["Key"] for page in pages for item in page.get("Contents", ()))
        return sorted(key for key in found if not key.endswith("/"))

    def read(self, location: Location) -> bytes:
        """The content of one object.

        Raises:
            ClientError: there is none, or S3 refuses.
        """
        answer = self._client.get_object(Bucket=location.bucket, Key=location.key)
        return bytes(answer["Body"].read())

    def download(self, transfers: Iterable[Transfer]) -> None:
        """Download objects, several at a time; directories are made.

        Raises:
            StoppedError: the job was stopped meanwhile.
            Exception: one of `FAILURES`.
        """

        def one(transfer: Transfer) -> None:
            if self._stop.is_set():
                raise StoppedError
            transfer.path.parent.mkdir(parents=True, exist_ok=True)
            location = transfer.location
            self._client.download_file(location.bucket, location.key, str(transfer.path))

        with ThreadPoolExecutor(_AT_ONCE, "mme-download") as threads:
            done = [threads.submit(one, transfer) for transfer in transfers]
            try:
                for future in done:
                    future.result()
            finally:
                threads.shutdown(wait=True, cancel_futures=True)

    def upload(self, transfer: Transfer) -> None:
        """Upload one file.

        Raises:
            Exception: one of `FAILURES`.
        """
        location = transfer.location
        self._client.upload_file(str(transfer.path), location.bucket, location.key)


def relative(key: str, prefix: str) -> str:
    """Where SageMaker puts the object `key` of the prefix `prefix`, below a channel's directory.

    The prefix may end within a name, as ``data/tr`` of ``data/train/a.csv``: the whole of that
    name is then kept.
    """
    if key == prefix or not prefix:
        return key.rpartition("/")[2] if prefix else key
    if prefix.endswith("/") or key[len(prefix)] == "/":
        return key[len(prefix) :].lstrip("/")
    return key[prefix.rfind("/") + 1 :]


def files_below(directory: Path) -> Iterator[Path]:
    """The files in a directory and in those below it, sorted; none if it is not there.

    Links are passed over: a container made them, and here they lead elsewhere.
    """
    files = (path for path in sorted(directory.rglob("*")) if not path.is_symlink())
    return (path for path in files if path.is_file())
