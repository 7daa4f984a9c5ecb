"""Checkpoints: from S3 before training, to S3 while it goes on and after it.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-checkpoints.html
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mme_local.jobs.errors import JobError
from mme_local.jobs.request import Location
from mme_local.jobs.s3 import FAILURES, Store, Transfer, files_below

_NOT_COPIED: Final = (".sagemaker-ignore", ".sagemaker-uploading", ".sagemaker-uploaded")


class Checkpoints:
    """The directories of the hosts, and the prefix in S3 that all of them share.

    Args:
        prefix: CheckpointConfig.S3Uri.
        directories: one a host.
        store: S3.
    """

    def __init__(self, prefix: Location, directories: Sequence[Path], store: Store) -> None:
        self._prefix = Location(prefix.bucket, f"{prefix.key.rstrip('/')}/".lstrip("/"))
        self._directories = directories
        self._store = store
        self._copied: dict[Path, tuple[int, int]] = {}

    def restore(self) -> None:
        """Put what is in S3 into each host's directory.

        Raises:
            JobError: a download fails.
            StoppedError: the job was stopped.
        """
        try:
            keys = self._store.keys(self._prefix)
            for directory in self._directories:
                names = [key.removeprefix(self._prefix.key) for key in keys]
                if any(".." in Path(name).parts for name in names):
                    raise JobError("ClientError: a checkpoint's name leads out of its directory")
                self._store.download(
                    Transfer(Location(self._prefix.bucket, key), directory / name)
                    for key, name in zip(keys, names, strict=True)
                )
                for path in files_below(directory):
                    self._copied[path] = _state(path)
        except FAILURES as error:
            raise JobError(f"ClientError: Checkpoint download failed:{error}") from error

    def save(self) -> None:
        """Copy to S3 what is new or has changed; what is removed here stays there.

        Raises:
            JobError: an upload fails.
        """
        for directory in self._directories:
            for path in files_below(directory):
                if path.name.endswith(_NOT_COPIED):
                    continue
                # The container removes its old ones while this goes on.
                with contextlib.suppress(FileNotFoundError):
                    self._save(directory, path)

    def _save(self, directory: Path, path: Path) -> None:
        state = _state(path)
        if self._copied.get(path) == state:
            return
        name = path.relative_to(directory).as_posix()
        try:
            self._store.upload(Transfer(self._prefix / name, path))
        except FileNotFoundError:
            raise
        except FAILURES as error:
            raise JobError(f"ClientError: Checkpoint upload failed:{error}") from error
        self._copied[path] = state


def _state(path: Path) -> tuple[int, int]:
    seen = path.stat()
    return seen.st_mtime_ns, seen.st_size
