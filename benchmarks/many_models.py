"""`mme train many` against a plain loop over `xgb.train`: ``python -m benchmarks.many_models``.

A table of a million houses in a thousand cities; two processes of one thread each. Whole programs
are measured, from their start to their end. The memory is that of another run, for its measuring
takes time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.plain_loop import EARLY_STOPPING_ROUNDS, PARAMETERS, ROUNDS, SEED
from mme_training.houses import LABEL, make_houses

MIB = 1 << 20
WORKERS = 2
MME = Path(sys.executable).with_name("mme")


@dataclass(frozen=True)
class Run:
    """Seconds of one program: of the clock, and of all its processes on a CPU."""

    wall: float
    cpu: float


def timed(command: Sequence[str], watch: Callable[[int], None] = lambda pid: None) -> Run:
    """Run a program to its end; `watch` is called with its id until it returns or is killed."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    watch(process.pid)
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, -9):
        raise RuntimeError(errors.decode())
    return Run(wall, usage.ru_utime + usage.ru_stime)


def ours(table: Path, out: Path) -> list[str]:
    """The command that trains with `mme train many`."""
    settings = {
        **PARAMETERS,
        "num_round": ROUNDS,
        "early_stopping_rounds": EARLY_STOPPING_ROUNDS,
    }
    sets = [text for name, value in settings.items() for text in ("--set", f"{name}={value}")]
    given = {
        "segments": table,
        "by": "city",
        "label": LABEL,
        "out": out,
        "workers": WORKERS,
        "seed": SEED,
    }
    options = [text for name, value in given.items() for text in (f"--{name}", str(value))]
    return [str(MME), "train", "many", *options, *sets]


def plain(table: Path, out: Path, threads: int) -> list[str]:
    """The command of the plain loop."""
    return [sys.executable, "-m", "benchmarks.plain_loop", str(table), str(out), str(threads)]


def make_table(path: Path, cities: int, rows: int) -> None:
    """Write houses of all cities, their rows mixed."""
    frames = []
    for number in range(cities):
        city = f"City{number:04}"
        frames.append(make_houses(city, rows).assign(city=city))
    pd.concat(frames).sample(frac=1, random_state=0).to_parquet(path, index=False)


def peak_memory(table: Path, out: Path) -> float:
    """MiB that all processes of a run have at once, at most; a shared page counts once."""
    peak = 0

    def watch(pid: int) -> None:
        nonlocal peak
        process = psutil.Process(pid)
        with suppress(psutil.NoSuchProcess):
            while process.status() != psutil.STATUS_ZOMBIE:
                total = 0
                for one in (process, *process.children(recursive=True)):
                    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                        total += one.memory_full_info().pss
                peak = max(peak, total)
                time.sleep(0.05)

    timed(ours(table, out), watch)
    return peak / MIB


def killed_half_way(table: Path, out: Path, cities: int) -> dict[str, int]:
    """Kill a run when half of its models are recorded, go on, and count what was done when."""
    file = out / "journal.jsonl"

    def watch(pid: int) -> None:
        process = psutil.Process(pid)
        while process.status() != psutil.STATUS_ZOMBIE:
            if file.exists() and file.read_bytes().count(b"\n") >= cities // 2:
                process.kill()
                return
            time.sleep(0.01)

    timed(ours(table, out), watch)
    first = names(file)
    written = {path.name: path.stat().st_mtime_ns for path in (out / "archives").iterdir()}
    timed(ours(table, out))
    counts = Counter(names(file))
    rewritten = sum(
        (out / "archives" / f"{name}.tar.gz").stat().st_mtime_ns != written[f"{name}.tar.gz"]
        for name in first
    )
    return {
        "recorded when it was killed": len(first),
        "recorded in all": len(counts),
        "recorded twice": sum(count > 1 for count in counts.values()),
        "archives written again": rewritten,
        "lost": cities - len(list((out / "archives").glob("*.tar.gz"))),
    }


def names(journal: Path) -> list[str]:
    """The segments that a journal has, as often as it has them."""
    return [json.loads(line)["segment"] for line in journal.read_text().splitlines()]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_models", description=__doc__)
    parser.add_argument("--cities", type=int, default=1_000)
    parser.add_argument("--rows", type=int, default=1_000, help="of each city")
    parser.add_argument("--turns", type=int, default=3, help="of each program; the median counts")
    arguments = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="mme-many-") as name:
        scratch = Path(name)
        table = scratch / "houses.parquet"
        make_table(table, arguments.cities, arguments.rows)
        runs: dict[str, list[Run]] = {}
        for turn in range(arguments.turns):
            for title, command in (
                ("plain loop, XGBoost's threads", plain(table, scratch / f"plain{turn}", 0)),
                ("plain loop, one thread", plain(table, scratch / f"single{turn}", 1)),
                ("mme train many", ours(table, scratch / f"ours{turn}")),
            ):
                runs.setdefault(title, []).append(timed(command))
        console.print(_compared(runs))
        console.print(f"peak of memory: {peak_memory(table, scratch / 'memory'):.0f} MiB")
        for what, count in killed_half_way(table, scratch / "killed", arguments.cities).items():
            console.print(f"{what}: {count}")


def _compared(runs: dict[str, list[Run]]) -> Table:
    walls = {title: statistics.median(run.wall for run in each) for title, each in runs.items()}
    mine = walls["mme train many"]
    table = Table("program", "seconds", "seconds of CPU", "times as long as ours")
    for title, each in runs.items():
        cpu = statistics.median(run.cpu for run in each)
        table.add_row(title, f"{walls[title]:.1f}", f"{cpu:.1f}", f"{walls[title] / mine:.2f}")
    return table


if __name__ == "__main__":
    main()
