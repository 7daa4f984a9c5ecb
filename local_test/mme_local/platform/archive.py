"""Unpacks a model's archive, which anybody may have made, and trusts nothing in it.

The archive is read once, from front to back, and never held in memory. What is refused, and what
fails half-way, leaves nothing behind: it is unpacked into a directory of its own, which is renamed
at the end.
"""

from __future__ import annotations

import gzip
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from mme_local.errors import LocalError

MOST_MEMBERS: Final = 100_000
_MOST_AT_ONCE: Final = 1 << 20  # bytes; only names and attributes of a member are read in one go
_BLOCK: Final = 512  # bytes of a member's header
_REST: Final = 1 << 20  # bytes after the last member that are read for the checksum
_DIRECTORY_MODE: Final = 0o755  # a container may run as another user


class ArchiveError(LocalError):
    """An archive cannot be unpacked; the text says why, without paths of this machine."""


class _Inflated(gzip.GzipFile):
    """What a gzip file holds; refuses to make more of it at once than a member's header takes.

    tarfile reads a member's long name whole: without this, a name of 10 GB would be in memory.
    """

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= _MOST_AT_ONCE:
            raise ArchiveError("a member's header is too large")
        return super().read(size)


def extract(archive: Path, into: Path, largest: int, most_members: int = MOST_MEMBERS) -> int:
    """Unpack a ``.tar.gz`` of plain files and directories; takes a thread as long as it takes.

    Args:
        archive: the file.
        into: a directory that does not exist, or is empty; what is above it exists.
        largest: bytes that all files together may take.
        most_members: files and directories that there may be.

    Returns:
        The bytes of all files.

    Raises:
        ArchiveError: it is no such archive, is damaged or too large, or a member is a link or a
            device or would be written elsewhere. `into` is then as it was.
    """
    partial = Path(tempfile.mkdtemp(prefix=f".{into.name}-", dir=into.parent))
    try:
        total = _unpack(archive, partial, largest, most_members)
        partial.chmod(_DIRECTORY_MODE)
        partial.rename(into)
    except ArchiveError:
        raise
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
        raise ArchiveError(f"it is no tar.gz archive, or is damaged: {error}") from None
    except OSError as error:
        raise ArchiveError(f"it cannot be unpacked: {error.strerror or error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return total


def _unpack(archive: Path, into: Path, largest: int, most_members: int) -> int:
    total = 0
    with (
        _Inflated(archive, "rb") as inflated,
        tarfile.open(fileobj=inflated, mode="r:") as file,
    ):
        count = 0
        for member in _members(file):
            count += 1
            if count > most_members:
                raise ArchiveError(f"it has more than {most_members:,} members")
            _check(member)
            total += member.size
            if total + count * _BLOCK > largest:
                raise ArchiveError(f"its files take more than {largest:,} bytes")
            file.extract(member, into, set_attrs=True, filter="data")
        if not count:
            raise ArchiveError("it is no tar.gz archive, or an empty one")
        for _ in range(_REST // _BLOCK):  # the checksum comes last
            if not inflated.read(_BLOCK):
                break
    return total


def _members(file: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while member := file.next():
        yield member
        file.members.clear()  # type: ignore[attr-defined]  # or it keeps every header in memory


def _check(member: tarfile.TarInfo) -> None:
    """Refuse what tarfile's own filter would bend into shape, or let pass."""
    name = f"{member.name[:200]!r}"
    if member.issym() or member.islnk():
        raise ArchiveError(f"{name} is a link, and archives must have none")
    if not (member.isreg() or member.isdir()):
        raise ArchiveError(f"{name} is neither a file nor a directory")
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise ArchiveError(f"{name} would be written outside of the model's directory")
