"""What an unpacked model archive holds: its model file, its code, its size.

Looks at names and sizes, and a pickle's first bytes, and imports nothing heavy: the server decides
from it which process a model goes to and whether there is room, before any process reads the model.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from mme_handler.errors import ModelLoadError
from mme_handler.models.formats import PICKLE_HEAD_BYTES, is_pickle

CODE_DIRECTORY = "code"
SCRIPT = "inference.py"

# Files at an archive's root that accompany a model and are never one.
_NOT_A_MODEL = {".csv", ".md", ".py", ".rst", ".toml", ".txt", ".yaml", ".yml"}
_NEVER_A_MODEL = {"MANIFEST.json", "mme.json"}

_NUMBER = re.compile(r"([0-9]+)")


@dataclass(frozen=True, slots=True)
class Archive:
    """An unpacked archive; `script` is its own ``inference.py``, if it brings one."""

    directory: Path
    model_files: tuple[Path, ...]
    script: Path | None
    size: int
    """Bytes of the model files."""
    pickled: bool = False
    """Whether a model file is a Python pickle; only found out where pickles are allowed."""

    @property
    def needs_own_process(self) -> bool:
        """Whether loading it runs code of its own: a script, or what a pickle holds."""
        return self.script is not None or self.pickled

    @property
    def format(self) -> str:
        """``json`` or ``ubj``: what the estimate of its memory goes by."""
        return "json" if any(path.suffix == ".json" for path in self.model_files) else "ubj"

    def ensemble_files(self) -> tuple[Path, ...]:
        """The archive's one model file, or those of its ensemble in the order of their numbers.

        Raises:
            ModelLoadError: there is none, or there are several that are no ensemble.
        """
        if not self.model_files:
            raise ModelLoadError(
                "the archive holds no model file: put one at its root, such as model.ubj"
            )
        if len(self.model_files) == 1:
            return self.model_files
        numbers = _numbers([path.name for path in self.model_files])
        if numbers is None:
            names = ", ".join(path.name for path in self.model_files)
            raise ModelLoadError(
                f"the archive holds several model files, keep one: {names}; the models of an "
                "ensemble have names that differ only in a number, such as model-0.ubj and "
                "model-1.ubj, and data of its code belongs into code/"
            )
        return tuple(path for _, path in sorted(zip(numbers, self.model_files, strict=True)))


def inspect(
    directory: Path,
    program: str = SCRIPT,
    default_script: Path | None = None,
    allow_pickle: bool = False,
) -> Archive:
    """Find out what the archive unpacked at `directory` holds.

    Args:
        directory: where it is.
        program: name of the script, looked for in its code directory and at its root; in its
            absence ``inference.py`` is.
        default_script: the script of a model that brings none.
        allow_pickle: whether to look into each model file's first bytes for `Archive.pickled`.

    Raises:
        ModelLoadError: `directory` is not a directory, or cannot be read.
    """
    try:
        files = tuple(entry for entry in sorted(directory.iterdir()) if _may_be_a_model(entry))
        size = sum(path.stat().st_size for path in files)
        pickled = allow_pickle and any(is_pickle(_head(path)) for path in files)
    except OSError as error:
        raise ModelLoadError(f"the model's directory cannot be read: {error.strerror}") from None
    names = dict.fromkeys((program, SCRIPT))
    scripts = [place / name for name in names for place in (directory / CODE_DIRECTORY, directory)]
    script = next((path for path in scripts if path.is_file()), default_script)
    return Archive(directory, files, script, size, pickled)


def fingerprint(archive: Archive) -> str:
    """A digest of the model files' bytes: the same for the same model under any name."""
    digest = hashlib.sha256()
    for path in archive.model_files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _may_be_a_model(entry: Path) -> bool:
    name = entry.name
    if name.startswith(".") or name in _NEVER_A_MODEL or entry.suffix in _NOT_A_MODEL:
        return False
    return entry.is_file()


def _head(path: Path) -> bytes:
    try:
        with path.open("rb", buffering=0) as file:
            return file.read(PICKLE_HEAD_BYTES)
    except OSError:
        return b""  # Whoever loads the model reads the whole file, and says why it cannot.


def _numbers(names: list[str]) -> list[int] | None:
    """The one number in which all of `names` differ; None if they differ otherwise."""
    parts = [_NUMBER.split(name) for name in names]  # Text and digits by turns.
    if len({len(part) for part in parts}) > 1:
        return None
    differing = [at for at, same in enumerate(zip(*parts, strict=True)) if len(set(same)) > 1]
    if len(differing) != 1 or differing[0] % 2 == 0:
        return None
    numbers = [int(part[differing[0]]) for part in parts]
    return numbers if len(set(numbers)) == len(numbers) else None
