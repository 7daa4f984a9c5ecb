"""Files that are to go into many archives, checked once before the first of these is made."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from mme_handler.errors import MmeError
from mme_handler.models import settings
from mme_handler.models.archive import inspect
from mme_training.archives.pack import ArchiveError, check_names
from mme_training.archives.source import read_script
from mme_training.errors import UserError


def check_extra(files: Mapping[str, Path]) -> None:
    """Refuse files with which a server would load no model.

    Args:
        files: by their names in the archive, where `mme_training.archives.pack.pack` puts them.

    Raises:
        UserError: a file is not there, its name cannot be used, or a server would refuse it.
    """
    for name, file in files.items():
        if not file.is_file():
            raise UserError(f"{file}, which is to be {name!r} in each archive, is no file")
    try:
        check_names(files)
    except ArchiveError as error:
        raise UserError(str(error)) from None
    for name in files:
        for parent in PurePosixPath(name).parents:
            if str(parent) in files:
                raise UserError(f"{str(parent)!r} is a file, and {name!r} would be below it")
    with tempfile.TemporaryDirectory(prefix="mme-extra-") as directory:
        _check_content(_staged(files, Path(directory)))


def _staged(files: Mapping[str, Path], directory: Path) -> Path:
    (directory / "model.ubj").touch()
    for name, file in files.items():
        place = directory / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(file.resolve())
    return directory


def _check_content(directory: Path) -> None:
    try:
        settings.read(directory)
        found = inspect(directory)
        script = None
        if found.script:
            name = found.script.relative_to(directory).as_posix()
            script = read_script(found.script, name)
            if script.problem:
                raise UserError(f"{name}: {script.problem}")
        if not (script and script.loads_itself):
            found.ensemble_files()
    except MmeError as error:
        raise UserError(f"the files for each archive cannot be used: {error}") from None
