"""What is done, on disk as soon as it is done, so that no end of a run costs more than it must.

A line of JSON for each record, appended in one write: the end of the process leaves all lines that
were written, and at worst a torn last one, which is left out when the file is read. After the end
of the machine lines may be missing; their segments are done again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

from mme_training.errors import UserError
from mme_training.many.evaluation import read_evaluation
from mme_training.many.layout import evaluation_file
from mme_training.many.work import Record


class Journal:
    """The records of all runs into one directory; the last of each segment counts."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._file = out / "journal.jsonl"
        self.records: dict[str, Record] = {}
        if self._file.exists():
            for line in self._file.read_bytes().splitlines():
                try:
                    record = Record(**json.loads(line))
                    self.records[record.segment] = record
                except (ValueError, TypeError):  # torn, or another version's
                    continue
        self._descriptor = os.open(self._file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            os.write(self._descriptor, b"\n")

    def add(self, record: Record) -> None:
        """Keep `record`."""
        values = {field.name: getattr(record, field.name) for field in fields(record)}
        os.write(self._descriptor, f"{json.dumps(values, default=dict)}\n".encode())
        self.records[record.segment] = record

    def done(self, fingerprints: Mapping[str, str]) -> dict[str, Record]:
        """The records of what need not be done again: trained of the same, and still whole.

        An archive elsewhere than here is taken for whole.
        """
        return {
            name: record
            for name, fingerprint in fingerprints.items()
            if (record := self.records.get(name))
            and record.error is None
            and record.fingerprint == fingerprint
            and self._is_whole(record)
        }

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _is_whole(self, record: Record) -> bool:
        if record.path is None or "://" in record.path:
            return record.path is not None
        try:
            content = (self._out / record.path).read_bytes()
            read_evaluation(evaluation_file(self._out, record.fingerprint))
        except (OSError, ValueError, LookupError):  # ArrowInvalid is a ValueError
            return False
        return hashlib.sha256(content).hexdigest() == record.sha256


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep other runs away from `out`; the end of the process, however it ends, gives it free.

    Raises:
        UserError: another run has it.
    """
    with (out / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"another run is training into {out}: wait for its end, or give another directory"
            ) from None
        yield
