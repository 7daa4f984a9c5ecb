"""Make an archive of what a training left, or of another archive, if a server would load it."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from mme_handler.errors import MmeError
from mme_handler.models.archive import CODE_DIRECTORY
from mme_handler.models.archive import inspect as inspect_unpacked
from mme_handler.models.booster import sniff
from mme_handler.models.settings import NAMES as SETTINGS_NAMES
from mme_training.archives.check import read_rows, write_rows
from mme_training.archives.inspection import Inspection, inspect_directory
from mme_training.archives.loading import load
from mme_training.archives.pack import CHECK_NAME, is_junk, unpack, write_archive
from mme_training.errors import UserError

SUFFIXES: Final = (".tar.gz", ".tgz")
_GZIP: Final = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Packed:
    """An archive that was written; `notes` say what was left out, mended or is doubtful."""

    archive: Path
    sha256: str
    size: int
    notes: tuple[str, ...]
    inspection: Inspection


def assemble(
    source: Path,
    archive: Path,
    *,
    code: Path | None = None,
    settings: Path | None = None,
    check: Path | None = None,
) -> Packed:
    """Write `archive` from `source`, if a server would load it.

    Args:
        source: a model file, a directory as training leaves it, or an archive to pack again. An
            archive whose files are all in one directory has them put at the root.
        archive: the file to write; it replaces what was there.
        code: directory to be the archive's ``code``, in place of the one in `source`.
        settings: file to be its ``mme.toml`` or, if it ends so, ``mme.json``.
        check: CSV file of rows to be its ``check.csv``, with predictions of the model unless it
            has columns of predictions itself.

    Raises:
        UserError: there is nothing to pack, or a server would refuse it: why, and what to do.
        ArchiveError: `source` is an archive that cannot be extracted safely.
        OSError: a file cannot be read, or `archive` cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="mme-pack-") as scratch:
        notes: list[str] = []
        files = _collect(source, Path(scratch), notes)
        if code:
            files = _with_code(files, code, notes)
        if settings:
            name = SETTINGS_NAMES[1] if settings.suffix == ".json" else SETTINGS_NAMES[0]
            files = {key: path for key, path in files.items() if key not in SETTINGS_NAMES}
            files[name] = settings
        staged = _stage(files, Path(scratch, "staged"))
        if check:
            files[CHECK_NAME] = _make_check(check, staged, Path(scratch, CHECK_NAME))
            (staged / CHECK_NAME).unlink(missing_ok=True)
            (staged / CHECK_NAME).symlink_to(files[CHECK_NAME])
        inspection = inspect_directory(staged, str(source))
        for problem in inspection.problems:
            if problem.refused:
                raise UserError(f"{source} is not packed: {problem}")
            notes.append(str(problem))
        archive.parent.mkdir(parents=True, exist_ok=True)
        write_archive(files, archive)
    return Packed(archive, digest(archive), archive.stat().st_size, tuple(notes), inspection)


def digest(path: Path) -> str:
    """The SHA-256 of a file, 64 hex digits.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def name_of(source: Path) -> str:
    """What a model is called after the file or directory that it comes from."""
    path = source.resolve()
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            return path.name.removesuffix(suffix)
    return path.name if path.is_dir() else path.stem


def _collect(source: Path, scratch: Path, notes: list[str]) -> dict[str, Path]:
    """The files to pack, by their names in the archive."""
    if source.is_dir():
        return _of_directory(source, notes)
    if not source.is_file():
        raise UserError(f"there is no {source}")
    with source.open("rb") as file:
        packed = file.read(len(_GZIP)) == _GZIP
    if packed or source.name.endswith(SUFFIXES):
        unpack(source, scratch / "unpacked")
        return _lifted(_of_directory(scratch / "unpacked", notes), notes)
    try:
        form = sniff(source)
    except MmeError as error:
        raise UserError(f"{source} is not packed: {error}") from None
    return {f"model.{form}": source}


def _of_directory(directory: Path, notes: list[str]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    left_out = []
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_dir() and not path.is_symlink():
            continue
        if is_junk(name):
            left_out.append(name)
            continue
        files[name] = _regular(path, directory)
    if left_out:
        more = f" and {len(left_out) - 5} more" if len(left_out) > 5 else ""
        notes.append(f"left out: {', '.join(left_out[:5])}{more}")
    return files


def _regular(path: Path, directory: Path) -> Path:
    """The file itself; an archive holds no links."""
    target = path.resolve()
    if path.is_symlink() and not target.is_relative_to(directory.resolve()):
        raise UserError(f"{path} is a link that leads out of {directory}: put the file there")
    if not target.is_file():
        raise UserError(f"{path} is neither a file nor a link to one: an archive cannot hold it")
    return target


def _lifted(files: dict[str, Path], notes: list[str]) -> dict[str, Path]:
    """The files with their one common directory taken away, unless it is that of the code."""
    tops = {name.partition("/")[0] for name in files}
    if len(tops) != 1 or any("/" not in name for name in files) or tops == {CODE_DIRECTORY}:
        return files
    (top,) = tops
    notes.append(f"put at the root what was in {top}/")
    return _lifted({name.removeprefix(f"{top}/"): path for name, path in files.items()}, notes)


def _with_code(files: dict[str, Path], code: Path, notes: list[str]) -> dict[str, Path]:
    if not code.is_dir():
        raise UserError(f"{code} is no directory: the code of a model is one, with inference.py")
    own = {f"{CODE_DIRECTORY}/{name}": path for name, path in _of_directory(code, notes).items()}
    kept = {name: path for name, path in files.items() if not name.startswith(f"{CODE_DIRECTORY}/")}
    if len(kept) < len(files):
        notes.append(f"{code} replaces the code that was there")
    return {**kept, **own}


def _stage(files: dict[str, Path], directory: Path) -> Path:
    """A directory that looks as the archive will."""
    directory.mkdir()
    for name, path in files.items():
        place = directory / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(path.resolve())
    return directory


def _make_check(rows_file: Path, staged: Path, target: Path) -> Path:
    """Write the rows as a check of the model in `staged`."""
    archive = inspect_unpacked(staged)
    if not archive.model_files or archive.script:
        if read_rows(rows_file).predictions is None:
            raise UserError(
                f"{rows_file} has no column 'prediction', and what code of a model answers is not "
                "known before it runs: add the predictions"
            )
        shutil.copyfile(rows_file, target)
        return target
    try:
        models = load(archive)
        info = models.members[0].info
        rows = read_rows(rows_file, info.features, info.feature_names)
        predictions = rows.predictions
        if predictions is None:
            matrix = np.concatenate([models.read(body) for body in rows.bodies()])
            predictions = models.predict(matrix)
    except MmeError as error:
        raise UserError(f"{rows_file} does not fit the model: {error}") from None
    names = info.feature_names or [f"f{column}" for column in range(info.features)]
    write_rows(target, names, rows.cells, predictions)
    return target
