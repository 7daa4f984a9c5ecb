"""What a model archive is: a `.tar.gz` with the model at its root and, if any, its own code.

Packing is reproducible: the same files give the same bytes (for one version of zlib), so an
archive that has not changed need not be uploaded again. Unpacking trusts nothing.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

MODEL_NAME: Final = "model.ubj"
CHECK_NAME: Final = "check.csv"

LIMIT: Final = 16 << 30
"""Bytes that an archive may unpack to."""

_JUNK: Final = {"__MACOSX", "__pycache__", "Thumbs.db"}
_JUNK_SUFFIXES: Final = (".pyc", ".pyo", "~")

_MOST_MEMBERS: Final = 100_000
_MOST_READ: Final = 1 << 20  # bytes read at once: only a header made to fill the memory wants more


class ArchiveError(ValueError):
    """An archive, or the name of a member, that is broken or not safe to extract."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A member of an archive that is not extracted, and why."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name!r} {self.reason}"


def pack(
    model_file: Path,
    archive: Path,
    extra: Mapping[str, Path] = {},
    check: Path | None = None,
) -> None:
    """Write `model_file` as `MODEL_NAME`, and each of `extra`, into the gzipped tar `archive`.

    `extra` maps a name within the archive, such as ``code/inference.py``, to the file to put
    there; `check` is a file that `write_check` has written. `archive` appears only once complete,
    and replaces what was there.

    Raises:
        ArchiveError: a name in `extra` is taken, absolute, or leads out of the archive.
        OSError: a file cannot be read, or `archive` cannot be written.
    """
    own = {MODEL_NAME: model_file} | ({CHECK_NAME: check} if check else {})
    check_names(extra, [*own])
    write_archive({**extra, **own}, archive)


def check_names(names: Iterable[str], taken: Collection[str] = (MODEL_NAME, CHECK_NAME)) -> None:
    """Refuse names of files within an archive.

    Raises:
        ArchiveError: a name is among those `taken`, absolute, or leads out of the archive.
    """
    for name in names:
        _check_name(name)
        if name in taken or name == "." or PurePosixPath(name).as_posix() != name:
            raise ArchiveError(f"{name!r} cannot be used as the name of an extra file")


def write_archive(files: Mapping[str, Path], archive: Path) -> None:
    """Write a gzipped tar with each of `files` under its name; the same files give the same bytes.

    `archive` appears only once complete, and replaces what was there.

    Raises:
        ArchiveError: a name is absolute, or leads out of the archive.
        OSError: a file cannot be read, or `archive` cannot be written.
    """
    check_names(files, taken=())
    partial = archive.with_name(archive.name + ".part")
    try:
        # GzipFile would otherwise put the name of the file into the header.
        with (
            partial.open("wb") as raw,
            gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as zipped,
            tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            for name, path in sorted(files.items()):
                _add(tar, name, path)
        partial.replace(archive)
    finally:
        partial.unlink(missing_ok=True)


def unpack(archive: Path, directory: Path, limit: int = LIMIT) -> None:
    """Extract `archive` into `directory`, which is made if need be.

    All members are checked before the first is written, so an archive that is refused leaves
    nothing behind. Only files and directories are accepted: not even a link that stays inside.

    Raises:
        ArchiveError: the archive is not a whole gzipped tar, unpacks to more than `limit` bytes,
            or a member is a link or a device, is absolute, or leads out of `directory`.
        OSError: `archive` cannot be read, or `directory` cannot be written.
    """
    with _reading(archive) as tar:
        members, faults = _survey(tar, archive.name, limit)
        if faults:
            raise ArchiveError(str(faults[0]))
        _extract(tar, members, directory)


def salvage(archive: Path, directory: Path, limit: int = LIMIT) -> list[Fault]:
    """Extract what `unpack` would of `archive`, and return the members that it refuses.

    Raises:
        ArchiveError: the archive is not a whole gzipped tar, or unpacks to more than `limit` bytes.
        OSError: `archive` cannot be read, or `directory` cannot be written.
    """
    with _reading(archive) as tar:
        members, faults = _survey(tar, archive.name, limit)
        _extract(tar, members, directory)
    return faults


def is_junk(name: str) -> bool:
    """Whether a file belongs to a tool and not to the model: a cache, or anything hidden."""
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith(".") for part in parts)
    return hidden or not _JUNK.isdisjoint(parts) or name.endswith(_JUNK_SUFFIXES)


class _Stream(gzip.GzipFile):
    """What is in a gzip file, read in small pieces: no header may have itself read as a whole."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= _MOST_READ:
            raise tarfile.ReadError("a header in it is larger than any needs to be")
        return super().read(size)


@contextmanager
def _reading(archive: Path) -> Iterator[tarfile.TarFile]:
    try:
        with (
            archive.open("rb") as raw,
            _Stream("", "rb", fileobj=raw) as stream,
            tarfile.open(fileobj=stream, mode="r:") as tar,
        ):
            yield tar
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ArchiveError(f"{archive.name} cannot be extracted: {error}") from error


def _survey(
    tar: tarfile.TarFile, name: str, limit: int
) -> tuple[list[tarfile.TarInfo], list[Fault]]:
    """The members that may be extracted, and those that may not; no content is kept.

    Sizes are added up as the headers come, so what is too large is never unpacked as a whole.
    """
    members: list[tarfile.TarInfo] = []
    faults: list[Fault] = []
    total = 0
    for member in tar:
        total += member.size
        if total > limit:
            raise ArchiveError(
                f"{name} unpacks to more than {limit:,} bytes, which no model archive needs"
            )
        if len(members) + len(faults) >= _MOST_MEMBERS:
            raise ArchiveError(f"{name} holds more than {_MOST_MEMBERS:,} files")
        if reason := _fault(member):
            faults.append(Fault(member.name, reason))
        else:
            members.append(member)
    return members, faults


def _extract(tar: tarfile.TarFile, members: list[tarfile.TarInfo], directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    # Python before 3.11.4 has no filters; the members have been checked all the same.
    tar.extraction_filter = getattr(tarfile, "data_filter", None)
    tar.extractall(directory, members)  # noqa: S202


def _fault(member: tarfile.TarInfo) -> str | None:
    if reason := _name_fault(member.name):
        return reason
    return None if member.isfile() or member.isdir() else "is neither a file nor a directory"


def _name_fault(name: str) -> str | None:
    # The data filter makes an absolute name relative instead of refusing it.
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts:
        return "is not a name within the archive"
    return None


def _check_name(name: str) -> None:
    if reason := _name_fault(name):
        raise ArchiveError(f"{name!r} {reason}")


def _add(tar: tarfile.TarFile, name: str, path: Path) -> None:
    with path.open("rb") as file:
        # A fresh TarInfo has mtime, uid and gid 0, no owner's name, and mode 0644.
        member = tarfile.TarInfo(name)
        member.size = path.stat().st_size
        tar.addfile(member, file)
