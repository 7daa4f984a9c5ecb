"""The run directory: sockets, FIFOs and generated configuration of one running server.

Readable by its owner only, named by its port, locked while in use. What a killed server left
behind is removed by the next one on the same port.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

# sockaddr_un holds 108 bytes; MMS puts "/.mms.sock.<number>" behind the directory.
_LONGEST = 107 - len("/.mms.sock.2147483647")


class RunDirectoryError(RuntimeError):
    """The directory is in use by another server, or its path is too long for a socket."""


class RunDirectory:
    """A fresh directory for as long as the ``with`` block runs; `path` names it."""

    def __init__(self, port: int) -> None:
        self.path = Path(tempfile.gettempdir()) / f"mme-{os.getuid()}-{port}"
        if len(os.fsencode(self.path)) > _LONGEST:
            raise RunDirectoryError(
                f"{self.path} is too long to hold Unix sockets: point TMPDIR at a shorter path"
            )

    def __enter__(self) -> Path:
        lock_path = self.path.with_suffix(".lock")
        self._lock = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise RunDirectoryError(f"{self.path} is in use by another server") from None
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(mode=0o700)
        return self.path

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        # The lock file stays: removing it would let two servers hold locks of the same name.
        os.close(self._lock)
