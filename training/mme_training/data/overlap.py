"""Whether the training and the validation channel share files, which makes scores look too good."""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from pathlib import Path

from mme_training.data.files import DataFile, data_files

_LOG = logging.getLogger(__name__)
_MOST_SHOWN = 5


def warn_of_overlap(training: Path, validation: Path) -> None:
    """Log a warning if a file is in both channels, under whatever name, or they are the same.

    Files are compared by content; only those of the same size are read.

    Raises:
        UserError: a file cannot be read.
    """
    if training.resolve() == validation.resolve():
        _LOG.warning(
            "the training and the validation channel are the same (%s): validation scores and "
            "early stopping say nothing about rows that the model has not seen",
            training,
        )
        return
    pairs = shared_files(training, validation)
    if pairs:
        shown = ", ".join(f"{one} = {other}" for one, other in pairs[:_MOST_SHOWN])
        more = f" and {len(pairs) - _MOST_SHOWN} more" if len(pairs) > _MOST_SHOWN else ""
        _LOG.warning(
            "files with the same content are in the training and the validation channel: %s%s; "
            "validation scores and early stopping are too good by them",
            shown,
            more,
        )


def shared_files(training: Path, validation: Path) -> list[tuple[str, str]]:
    """The names of the files of both channels that have the same content, which is not empty."""
    by_size: dict[int, list[DataFile]] = defaultdict(list)
    for file in data_files(training):
        if file.size:
            by_size[file.size].append(file)
    digests: dict[Path, bytes] = {}

    def digest(file: DataFile) -> bytes:
        if file.path not in digests:
            with file.open() as stream:
                digests[file.path] = hashlib.file_digest(stream, "sha256").digest()
        return digests[file.path]

    return [
        (file.name, other.name)
        for other in data_files(validation)
        for file in by_size.get(other.size, ())
        if digest(file) == digest(other)
    ]
