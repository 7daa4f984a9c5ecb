"""S3 and IAM in a directory, so that they outlive the process: saved as they change, put back.

The directory holds ``objects/``, a file for each object, and ``index.json``, which names them. The
index is replaced as a whole once all that it names is written, so that a process that is killed
leaves what was saved last. Nothing in it is run when it is read.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import ClientError
from pydantic import BaseModel, ValidationError

from mme_local.aws.buckets import Buckets, SavedBucket, SavedObject
from mme_local.aws.clients import Clients
from mme_local.aws.identities import Identities
from mme_local.errors import LocalError

INTERVAL: Final = 5.0
"""Seconds between looks at what has changed."""

_log = logging.getLogger(__name__)


class Index(BaseModel):
    """What is in a directory."""

    version: int = 1
    buckets: list[SavedBucket] = []
    objects: list[SavedObject] = []
    identities: dict[str, Any] = {}


class State:
    """A directory for the state of S3 and IAM, this process's alone until `close`.

    Args:
        directory: made where it is not there.
        clients: of the services to save and restore.

    Raises:
        LocalError: another process uses the directory, or it cannot be made.
    """

    def __init__(self, directory: Path, clients: Clients) -> None:
        self._directory = directory
        self._files = directory / "objects"
        try:
            self._files.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise LocalError(
                f"{directory} cannot be made ({error.strerror}): name another by --state"
            ) from None
        directory.chmod(0o700)  # hyperparameters and variables of models are in it
        self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise LocalError(f"another local SageMaker keeps its state in {directory}") from None
        self._buckets = Buckets(clients.client("s3"), self._files)
        self._identities = Identities(clients.client("iam"))
        self._saved = Index()

    def restore(self) -> None:
        """Put back what the directory holds.

        Raises:
            LocalError: the directory holds something else, or not all of it.
        """
        index = self._directory / "index.json"
        if not index.exists():
            return
        try:
            saved = Index.model_validate_json(index.read_text())
            objects = self._buckets.restore(saved.buckets, saved.objects)
            self._identities.restore(saved.identities)
        except (ValidationError, OSError, KeyError, ClientError) as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            raise LocalError(
                f"the state in {self._directory} cannot be read: {reason}. Give another directory, "
                "or take this one away to start empty"
            ) from error
        self._saved = saved.model_copy(update={"objects": objects})

    def save(self) -> None:
        """Write what has changed since the last time."""
        buckets, objects = self._buckets.save(self._saved.objects)
        now = Index(buckets=buckets, objects=objects, identities=self._identities.save())
        if now != self._saved:
            self._write(now)
            self._saved = now
        self._buckets.remove_unused(objects)

    async def keep(self) -> None:
        """Save what changes, until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                await asyncio.to_thread(self.save)
            except Exception:  # the next time may do better
                _log.exception("the state is not saved")

    def close(self) -> None:
        """Let others use the directory."""
        os.close(self._lock)

    def _write(self, index: Index) -> None:
        draft = self._directory / "index.json.new"
        with draft.open("w") as file:
            file.write(index.model_dump_json(indent=1))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._directory / "index.json")
