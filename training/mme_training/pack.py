"""What a model archive is: a `.tar.gz` with the model at its root and, if any, its own code.

Packing is reproducible: the same files give the same bytes (for one version of zlib), so an
archive that has not changed need not be uploaded again. Unpacking trusts nothing.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Final

MODEL_NAME: Final = "model.ubj"


class ArchiveError(ValueError):
    """An archive, or the name of a member, that is broken or not safe to extract."""


def pack(model_file: Path, archive: Path, extra: Mapping[str, Path] = {}) -> None:
    """Write `model_file` as `MODEL_NAME`, and each of `extra`, into the gzipped tar `archive`.

    `extra` maps a name within the archive, such as ``code/inference.py``, to the file to put
    there. `archive` appears only once complete, and replaces what was there.

    Raises:
        ArchiveError: a name in `extra` is taken, absolute, or leads out of the archive.
        OSError: a file cannot be read, or `archive` cannot be written.
    """
    for name in extra:
        _check_name(name)
        if name in (MODEL_NAME, ".") or PurePosixPath(name).as_posix() != name:
            raise ArchiveError(f"{name!r} cannot be used as the name of an extra file")
    files = sorted({MODEL_NAME: model_file, **extra}.items())
    partial = archive.with_name(archive.name + ".part")
    try:
        # GzipFile would otherwise put the name of the file into the header.
        with (
            partial.open("wb") as raw,
            gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as zipped,
            tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            for name, path in files:
                _add(tar, name, path)
        partial.replace(archive)
    finally:
        partial.unlink(missing_ok=True)


def unpack(archive: Path, directory: Path) -> None:
    """Extract `archive` into `directory`, which is made if need be.

    All members are checked before the first is written, so an archive that is refused leaves
    nothing behind. Only files and directories are accepted: not even a link that stays inside.

    Raises:
        ArchiveError: the archive is not a whole gzipped tar, or a member is a link or a device,
            is absolute, or leads out of `directory`.
        OSError: `archive` cannot be read, or `directory` cannot be written.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar.getmembers():
                _check_name(member.name)
                if not (member.isfile() or member.isdir()):
                    raise ArchiveError(f"{member.name!r} is neither a file nor a directory")
            directory.mkdir(parents=True, exist_ok=True)
            # Python before 3.11.4 has no filters; the members have been checked all the same.
            tar.extraction_filter = getattr(tarfile, "data_filter", None)
            tar.extractall(directory)  # noqa: S202
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ArchiveError(f"{archive.name} cannot be extracted: {error}") from error


def _check_name(name: str) -> None:
    # The data filter makes an absolute name relative instead of refusing it.
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts:
        raise ArchiveError(f"{name!r} is not a name within the archive")


def _add(tar: tarfile.TarFile, name: str, path: Path) -> None:
    with path.open("rb") as file:
        # A fresh TarInfo has mtime, uid and gid 0, no owner's name, and mode 0644.
        member = tarfile.TarInfo(name)
        member.size = path.stat().st_size
        tar.addfile(member, file)
