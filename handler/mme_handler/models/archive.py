"""What an unpacked model archive holds: its model file, its code, its size.

Looks at names and sizes only and imports nothing heavy: the server decides from it which process a
model goes to and whether there is room, before any process reads the model.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from mme_handler.errors import ModelLoadError

CODE_DIRECTORY = "code"
SCRIPT = "inference.py"

# Files at an archive's root that accompany a model and are never one.
_NOT_A_MODEL = {".csv", ".md", ".py", ".rst", ".toml", ".txt", ".yaml", ".yml"}


@dataclass(frozen=True, slots=True)
class Archive:
    """An unpacked archive; `script` is its own ``inference.py``, if it brings one."""

    directory: Path
    model_files: tuple[Path, ...]
    script: Path | None
    size: int
    """Bytes of the model files."""

    @property
    def format(self) -> str:
        """``json`` or ``ubj``: what the estimate of its memory goes by."""
        return "json" if any(path.suffix == ".json" for path in self.model_files) else "ubj"

    def only_model_file(self) -> Path:
        """The archive's one model file.

        Raises:
            ModelLoadError: there is none, or there are several.
        """
        if not self.model_files:
            raise ModelLoadError(
                "the archive holds no model file: put one at its root, such as model.ubj"
            )
        if len(self.model_files) > 1:
            names = ", ".join(path.name for path in self.model_files)
            raise ModelLoadError(f"the archive holds several model files, keep one: {names}")
        return self.model_files[0]


def inspect(directory: Path) -> Archive:
    """Find out what the archive unpacked at `directory` holds.

    Raises:
        ModelLoadError: `directory` is not a directory, or cannot be read.
    """
    try:
        entries = sorted(entry for entry in directory.iterdir() if not entry.name.startswith("."))
        files = tuple(
            entry for entry in entries if entry.suffix not in _NOT_A_MODEL and entry.is_file()
        )
        size = sum(path.stat().st_size for path in files)
    except OSError as error:
        raise ModelLoadError(f"the model's directory cannot be read: {error.strerror}") from None
    scripts = (directory / CODE_DIRECTORY / SCRIPT, directory / SCRIPT)
    script = next((path for path in scripts if path.is_file()), None)
    return Archive(directory, files, script, size)


def fingerprint(archive: Archive) -> str:
    """A digest of the model files' bytes: the same for the same model under any name."""
    digest = hashlib.sha256()
    for path in archive.model_files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
