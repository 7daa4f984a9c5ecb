"""What the control plane keeps, in memory and, when asked, in a directory of JSON files.

A file for each resource, written on change, whole or not at all: ``models/houses.json``.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

import orjson

from mme_local.control.records import (
    EndpointRecord,
    ResolvedConfig,
    ResolvedVariant,
    Resource,
    TrainingJob,
    VariantState,
)
from mme_local.errors import LocalError

T = TypeVar("T")
_NOT_KEPT = ("ended_event", "changed")


class Table(Generic[T]):
    """Resources of one kind, by name.

    Args:
        directory: where they are kept; None keeps them in memory only.
        decode: makes a resource of what `encode` made of it.
    """

    def __init__(self, directory: Path | None, decode: Callable[[dict[str, Any]], T]) -> None:
        self._directory = directory
        self._decode = decode
        self._rows: dict[str, T] = {}

    def get(self, name: str) -> T | None:
        """The resource, or None."""
        return self._rows.get(name)

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._rows.values()))

    def put(self, name: str, row: T) -> None:
        """Keep a resource, or what has changed of it."""
        self._rows[name] = row
        if self._directory is not None:
            _write(self._path(self._directory, name), encode(row))

    def remove(self, name: str) -> None:
        """Forget a resource, if it is there."""
        self._rows.pop(name, None)
        if self._directory is not None:
            self._path(self._directory, name).unlink(missing_ok=True)

    def load(self) -> None:
        """Read what the directory has.

        Raises:
            LocalError: a file is not one of ours.
        """
        if self._directory is None or not self._directory.is_dir():
            return
        for path in sorted(self._directory.glob("*.json")):
            try:
                self._rows[path.stem] = self._decode(orjson.loads(path.read_bytes()))
            except (ValueError, TypeError, KeyError, OSError) as error:
                raise LocalError(
                    f"{path} cannot be read ({error}): restore it, or delete it to forget it."
                ) from error

    def close(self) -> None:
        """Write nothing more."""
        self._directory = None

    @staticmethod
    def _path(directory: Path, name: str) -> Path:
        return directory / f"{name}.json"  # names have been checked: no slash, no leading dot


class Store:
    """All that the API has made.

    Args:
        directory: where it outlives the process; None forgets it.
    """

    def __init__(self, directory: Path | None) -> None:
        def table(kind: str, decode: Callable[[dict[str, Any]], T]) -> Table[T]:
            return Table(None if directory is None else directory / kind, decode)

        self.models = table("models", _resource)
        self.configs = table("endpoint-configs", _resource)
        self.endpoints = table("endpoints", _endpoint)
        self.jobs = table("training-jobs", _job)
        self.tags = table("tags", _tags)

    def load(self) -> None:
        """Read everything that is kept.

        Raises:
            LocalError: a file cannot be read, and which.
        """
        for table in self._tables():
            table.load()

    def close(self) -> None:
        """Write nothing more: endpoints that end with the process come back with the next."""
        for table in self._tables():
            table.close()

    def _tables(self) -> tuple[Table[Any], ...]:
        return self.models, self.configs, self.endpoints, self.jobs, self.tags


def encode(row: Any) -> Any:
    """A record as JSON has it."""
    if not is_dataclass(row) or isinstance(row, type):
        return row
    return {
        field.name: _plain(getattr(row, field.name))
        for field in fields(row)
        if field.name not in _NOT_KEPT
    }


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _resource(row: dict[str, Any]) -> Resource:
    return Resource(**row)


def _tags(row: dict[str, Any]) -> dict[str, str]:
    return dict(row)


def _job(row: dict[str, Any]) -> TrainingJob:
    job = TrainingJob(**row)
    if job.ended is not None:
        job.ended_event = asyncio.Event()
        job.ended_event.set()
    return job


def _endpoint(row: dict[str, Any]) -> EndpointRecord:
    config = row.pop("config")
    variants = {name: VariantState(**state) for name, state in row.pop("variants").items()}
    resolved = tuple(ResolvedVariant(**variant) for variant in config["variants"])
    return EndpointRecord(**row, config=ResolvedConfig(config["name"], resolved), variants=variants)


def _write(path: Path, row: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    options = orjson.OPT_INDENT_2 | orjson.OPT_PASSTHROUGH_DATETIME
    with unfinished.open("wb") as file:
        file.write(orjson.dumps(row, default=_seconds, option=options))
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _seconds(value: Any) -> float:
    if isinstance(value, datetime):
        return value.timestamp()
    raise TypeError(f"{value!r} is not JSON")
