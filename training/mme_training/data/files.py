"""The files of a channel: which of them hold data, and their bytes from the first to the last.

In SageMaker's FastFile mode they are objects in S3 behind FUSE, where a step backwards costs a new
request: text and records are read once, in order.
"""

from __future__ import annotations

import gzip
import io
import logging
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from mme_training.errors import UserError

_LOG = logging.getLogger(__name__)
Stream: TypeAlias = "io.BufferedReader[Any] | gzip.GzipFile"
_GZIP: Final = b"\x1f\x8b"
HEAD_BYTES: Final = 1 << 16
"""How much of a file tells its format."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of a channel."""

    path: Path
    name: str
    """The channel and the path in it, for messages: ``train/2024/part-0.csv``."""
    size: int

    @contextmanager
    def open(self) -> Iterator[Stream]:
        """The content from its first byte on, unpacked if it is gzip whatever its name is.

        Raises:
            UserError: the file cannot be read, within the context too.
        """
        try:
            with io.BufferedReader(io.FileIO(self.path), HEAD_BYTES) as raw:
                if raw.peek(2)[:2] == _GZIP:
                    with gzip.open(raw) as packed:
                        yield packed
                else:
                    yield raw
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{self.name} cannot be read: {error}") from error


def data_files(directory: Path) -> list[DataFile]:
    """The data files below `directory`, to any depth, sorted by their path; or the one that it is.

    Links are followed. Files and directories whose names begin with a dot or an underscore are left
    out, as Spark does (_SUCCESS, .DS_Store), and so are broken links; the log names them. Empty
    files are in the list.
    """
    if directory.is_file():
        return [DataFile(directory, directory.name, directory.stat().st_size)]
    found = []
    for path in sorted(_walk(directory, frozenset())):
        name = f"{directory.name}/{path.relative_to(directory).as_posix()}"
        found.append(DataFile(path, name, path.stat().st_size))
    return found


def _walk(directory: Path, above: frozenset[Path]) -> Iterator[Path]:
    """The data files below `directory`; `above` are the directories that it is in, resolved."""
    resolved = directory.resolve()
    if resolved in above or not directory.is_dir():
        return  # A link to a directory that it is in has no end.
    for entry in os.scandir(directory):
        if entry.name.startswith((".", "_")):
            _LOG.info("%s is skipped: its name begins with %r", entry.path, entry.name[0])
            continue
        path = Path(entry.path)  # Which takes a link to itself for broken, and DirEntry fails.
        if path.is_dir():
            yield from _walk(path, above | {resolved})
        elif path.is_file():
            yield path
        else:
            _LOG.warning("%s is skipped: it is no file that can be read", entry.path)
