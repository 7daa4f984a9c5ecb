"""Instance types that can host: what they have, and what AWS has asked for them.

``instances.csv`` has sizes of all, and a price of those for which one was seen, with the date and
where: https://aws.amazon.com/sagemaker/pricing/. Types of several GPUs cannot host many models.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from mme_hosting.errors import HostingError

GIB: Final = 1 << 30
HOURS: Final = 730
"""Hours of a month, as AWS reckons."""

_SIZES: Final = ("vcpus", "memory_gib")
_COLUMNS: Final = (
    *("type", *_SIZES, "cpu_share", "gpus", "gpu_memory_gib"),
    *("usd_per_hour", "as_of", "source"),
)


@dataclass(frozen=True, slots=True)
class InstanceType:
    """One instance type."""

    name: str
    """As ``ml.m5.large``."""
    vcpus: int
    memory: int
    """Bytes."""
    cpu_share: float = 1.0
    """Of each virtual CPU, what can be used all the time: less than 1 if it is burstable."""
    gpus: int = 0
    gpu_memory: int = 0
    """Bytes of each GPU."""
    usd_per_hour: float | None = None
    """On-demand, real-time inference, us-east-1 unless the user's table is of elsewhere."""
    as_of: str = ""
    """When AWS asked that: a year, or a day as YYYY-MM-DD."""
    source: str = ""
    """Where that was read."""


def table(file: Path | None = None) -> dict[str, InstanceType]:
    """All instance types by name: those known here, and over them the rows of `file`.

    Args:
        file: CSV with a header, of the columns of ``instances.csv``; a row needs the type, and the
            sizes if the type is not known here.

    Raises:
        HostingError: the file cannot be read, or a row is wrong: which.
    """
    text = resources.files(__package__).joinpath("instances.csv").read_text("utf-8")
    own = {row["type"]: row for row in csv.DictReader(text.splitlines())}
    for where, row in _rows(file) if file else ():
        name = row.get("type", "")
        merged = {**own.get(name, {}), **row}
        if not name or any(not merged.get(column) for column in _SIZES):
            raise HostingError(f"{where}: a row needs type, vcpus and memory_gib; {name} has not")
        own[name] = merged
        _read(merged, where)
    return {name: _read(row, name) for name, row in own.items()}


def choose(names: Iterable[str], known: Mapping[str, InstanceType]) -> list[InstanceType]:
    """The instance types of these names.

    Raises:
        HostingError: one is not in the table.
    """
    chosen = []
    for name in dict.fromkeys(names):
        found = known.get(name)
        if found is None:
            near = difflib.get_close_matches(name, known, 1, 0.7)
            hint = f"did you mean {near[0]}? " if near else ""
            raise HostingError(
                f"the size of {name} is not known: {hint}Known are {', '.join(known)}. Add a row "
                "with --prices FILE: type,vcpus,memory_gib,usd_per_hour"
            )
        chosen.append(found)
    return chosen


def _rows(file: Path) -> list[tuple[str, dict[str, str]]]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            unknown = set(reader.fieldnames or ()) - {*_COLUMNS}
            if unknown or "type" not in (reader.fieldnames or ()):
                raise HostingError(f"{file}: the first line names {', '.join(_COLUMNS)}, or some")
            return [
                (
                    f"{file}, line {reader.line_num}",
                    {key: value.strip() for key, value in row.items() if value and value.strip()},
                )
                for row in reader
            ]
    except (OSError, UnicodeDecodeError, csv.Error, AttributeError) as error:
        raise HostingError(f"{file} cannot be read as CSV: {error}") from None


def _read(row: Mapping[str, str], where: str) -> InstanceType:
    try:
        found = InstanceType(
            name=row["type"],
            vcpus=int(row["vcpus"]),
            memory=int(float(row["memory_gib"]) * GIB),
            cpu_share=float(row.get("cpu_share") or 1),
            gpus=int(row.get("gpus") or 0),
            gpu_memory=int(float(row.get("gpu_memory_gib") or 0) * GIB),
            usd_per_hour=float(row["usd_per_hour"]) if row.get("usd_per_hour") else None,
            as_of=row.get("as_of") or "",
            source=row.get("source") or "",
        )
    except (ValueError, OverflowError) as error:
        raise HostingError(f"{where}: {error}") from None
    usd = found.usd_per_hour
    right = found.vcpus >= 1 and found.memory > 0 and 0 < found.cpu_share <= 1
    if not right or not (usd is None or 0 <= usd < float("inf")):
        raise HostingError(f"{where}: a size or a price of {found.name} is out of range")
    return found
