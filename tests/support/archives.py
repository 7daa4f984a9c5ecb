"""Model directories as training leaves them, and archives that others would make of them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import xgboost as xgb

from mme_training.archives.check import write_check
from support.models import make_rows, train

booster = cache(train)
"""A house-price model, trained once for each seed."""


def fill(
    directory: Path, files: Mapping[str, str | bytes | xgb.Booster], check: int | None = None
) -> Path:
    """Write `files` below `directory`; `check` adds check rows of the booster of that seed."""
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, xgb.Booster):
            path.write_bytes(content.save_raw("json" if path.suffix == ".json" else "ubj"))
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    if check is not None:
        write_check(booster(check), make_rows(20, 3), directory / "check.csv")
    return directory


def tar(archive: Path, members: Mapping[str, bytes | tarfile.TarInfo]) -> Path:
    """Write a gzipped tar by hand, with any names; a `TarInfo` is a member without content."""
    with tarfile.open(archive, "w:gz") as file:
        for name, content in members.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            data = b"" if isinstance(content, tarfile.TarInfo) else content
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return archive


def link(name: str, target: str) -> tarfile.TarInfo:
    """A symbolic link, for `tar`."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


def names(archive: Path) -> list[str]:
    """The members of an archive."""
    with tarfile.open(archive) as file:
        return file.getnames()
