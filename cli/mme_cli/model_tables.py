"""What `mme models ls` prints."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mme_hosting.logs import clean
from mme_hosting.models.listing import Archive, Model

_WIDE: Final = 1000
"""Columns of a table that is not for a terminal, where nothing is folded."""


def as_dict(model: Model) -> dict[str, Any]:
    """For a program."""
    archive = model.archive
    return {
        "name": model.name,
        "version": _number(archive),
        "key": model.key,
        "size": archive.size if archive else None,
        "changed": model.changed,
        "versions": [
            {
                "version": _number(each),
                "key": each.key,
                "size": each.size,
                "modified": each.modified,
                "current": each.key == model.key,
            }
            for each in model.versions
        ],
    }


def _number(archive: Archive | None) -> int | None:
    return archive.version.number if archive and archive.version else None


def show(found: list[Model], every_version: bool) -> None:
    """Print a line for each model, or for each of its versions."""
    last = "current" if every_version else "versions"
    when = "uploaded" if every_version else "changed"
    table = Table("name", "version", "key", "size", when, last, box=None, pad_edge=False)
    for row in _lines(found) if every_version else map(_line, found):
        table.add_row(*(escape(clean(cell)) for cell in row))
    for column in table.columns:
        column.no_wrap = column.header not in ("name", "key")
        column.overflow = "fold"
    Console(width=None if sys.stdout.isatty() else _WIDE).print(table)


def _line(model: Model) -> tuple[str, ...]:
    archive = model.archive
    return (
        model.name,
        str(_number(archive) or ""),
        model.key,
        _size(archive.size) if archive else "gone",
        _time(model.changed),
        str(len(model.versions)),
    )


def _lines(found: list[Model]) -> Iterator[tuple[str, ...]]:
    for model in found:
        for each in model.versions:
            yield (
                model.name,
                str(_number(each) or ""),
                each.key,
                _size(each.size),
                _time(each.modified),
                "yes" if each.key == model.key else "",
            )


def _size(amount: int) -> str:
    return f"{amount / 1e6:,.1f} MB" if amount >= 1e6 else f"{amount / 1e3:,.1f} kB"


def _time(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M:%S}Z"
