"""What is to be done for each segment, and what came of it: the one interface of all engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Segment:
    """The rows of a table that one model is trained on."""

    key: str
    """The value that its rows have in the table's key column, as text."""
    name: str
    """The key as it stands in names of files, archives and jobs; no two segments share one."""
    file: Path
    """Arrow IPC file that holds the segment's rows, perhaps among others."""
    start: int
    """Index in `file` of the first row."""
    rows: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What all segments have in common.

    `hyperparameters` are as given, by name; `features` and `label` are columns of the table;
    `extra` maps a name within the archive to the file that every archive gets under it.
    """

    label: str
    features: tuple[str, ...]
    hyperparameters: Mapping[str, Any]
    out: Path
    seed: int = 0
    extra: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """What became of one segment: a row of the manifest.

    A failed one has an `error` and neither `path` nor `sha256`.
    """

    segment: str
    fingerprint: str
    """Digest of all that the model depends on: rows, hyperparameters, code, versions."""
    train_rows: int = 0
    validation_rows: int = 0
    test_rows: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    """By name as ``validation-rmse``; those of ``test`` are of rows that training never saw."""
    rounds: int = 0
    path: str | None = None
    """The archive: a path relative to the manifest, or an S3 URI."""
    sha256: str | None = None
    """Of the archive's bytes; None where the archive was made elsewhere and not read."""
    size: int = 0
    """Bytes of the archive."""
    seconds: float = 0.0
    version: str = ""
    """The XGBoost that trained it."""
    attempts: int = 1
    error: str | None = None


class Engine(Protocol):
    """Something that trains segments."""

    def run(
        self,
        plan: Plan,
        segments: Sequence[Segment],
        fingerprints: Mapping[str, str],
        on_done: Callable[[Record], None],
    ) -> None:
        """Train each of `segments`, in any order and as many at once as the engine likes.

        `fingerprints` has each segment's, by its name. `on_done` is called in the caller's thread
        with one record for each segment, also for those that failed; a failure of one costs no
        other. Returns when all are done; an interruption leaves those under way without a record.
        """
