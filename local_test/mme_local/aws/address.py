"""Where the local SageMaker that runs is to be found, and that there is only one for a directory.

``mme local up`` writes it; ``exec``, ``status``, ``logs`` and ``down`` read it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Final

from pydantic import BaseModel, ValidationError

from mme_local.errors import LocalError

_ADDRESS: Final = "address.json"
_LOCK: Final = "lock"
_SCRATCH: Final = ("endpoints", "jobs", "objects")


class Address(BaseModel):
    """A local SageMaker that runs."""

    pid: int
    sagemaker: str
    """URL of SageMaker, SageMaker Runtime and the page."""
    aws: str
    """URL of S3 and the other services."""
    region: str
    role: str
    bucket: str
    runtime: str
    """What containers run as: ``docker`` or ``embedded``."""
    version: str


class RunDirectory:
    """The directory of one local SageMaker, for as long as the ``with`` block runs.

    It is readable by its owner only, and locked: the lock is the process's own, so that it is free
    however the process ends.

    Raises:
        LocalError: another local SageMaker runs in it, or it is somebody else's.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> RunDirectory:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise LocalError(
                f"{self.path} cannot be made ({error.strerror}): name another directory by "
                "MME_LOCAL_RUN"
            ) from None
        _check_owner(self.path)
        self.path.chmod(0o700)
        self._lock = os.open(
            self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise LocalError(
                f"a local SageMaker runs already in {self.path}: end it by mme local down, or give "
                "this one another directory by MME_LOCAL_RUN"
            ) from None
        (self.path / _ADDRESS).unlink(missing_ok=True)
        self._clear()  # what one that was killed has left
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        (self.path / _ADDRESS).unlink(missing_ok=True)
        self._clear()
        os.close(self._lock)

    def _clear(self) -> None:
        for name in _SCRATCH:
            shutil.rmtree(self.path / name, ignore_errors=True)

    def announce(self, address: Address) -> None:
        """Write where this local SageMaker is, whole or not at all."""
        draft = self.path / f"{_ADDRESS}.new"
        draft.write_text(address.model_dump_json(indent=2) + "\n")
        draft.chmod(0o600)
        draft.replace(self.path / _ADDRESS)


def find(run: Path) -> Address:
    """The local SageMaker that runs in a directory.

    Raises:
        LocalError: there is none.
    """
    none = LocalError("no local SageMaker runs here: start one by mme local up --detach")
    if not (run / _ADDRESS).is_file():
        raise none
    _check_owner(run)
    if not _is_locked(run):  # it was killed, and left its address
        raise none
    try:
        return Address.model_validate_json((run / _ADDRESS).read_text())
    except (OSError, ValidationError):
        raise none from None


def _is_locked(run: Path) -> bool:
    try:
        descriptor = os.open(run / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def _check_owner(path: Path) -> None:
    """Refuse a directory that another user could have planted in a shared place.

    Raises:
        LocalError: it is a link, or belongs to another user.
    """
    if path.is_symlink() or path.lstat().st_uid != os.getuid():
        raise LocalError(f"{path} is not a directory of yours: name another one by MME_LOCAL_RUN")
