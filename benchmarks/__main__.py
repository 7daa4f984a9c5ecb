"""Measures stock multi-model-server and this container in one run: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict
from http.client import HTTPException
from pathlib import Path
from types import FrameType

from rich.console import Console

from benchmarks.experiments import EXPERIMENTS, SIDES, Bench, Settings
from benchmarks.report import Row, table, write
from benchmarks.server import BenchmarkError
from benchmarks.throughput import generator

RESULTS = Path(__file__).with_name("results") / "latest.json"
TABLE_WIDTH = 120
FAILURES = (BenchmarkError, OSError, HTTPException, subprocess.SubprocessError)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=EXPERIMENTS, default=list(EXPERIMENTS), help="experiments"
    )
    parser.add_argument(
        "--side", choices=("both", *SIDES), default="both", help="measure one side alone"
    )
    parser.add_argument(
        "--silent-stock", action="store_true", help="stock without the logs that it ships with"
    )
    parser.add_argument("--quick", action="store_true", help="100 models and a few samples")
    parser.add_argument("--models", type=int, help="models loaded at once (default 3,000)")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where the result goes")
    arguments = parser.parse_args()
    if arguments.models is not None and arguments.models < 1:
        parser.error("--models must be 1 or more")
    return arguments


def _settings(arguments: argparse.Namespace) -> Settings:
    quick = arguments.quick
    return Settings(
        sides=SIDES if arguments.side == "both" else (arguments.side,),
        loads=4 if quick else 10,
        rounds=3 if quick else 5,
        requests=200 if quick else 1_000,
        seconds=2 if quick else 5,
        stock_memory_models=3 if quick else 8,
        memory_models=100 if quick else 1_000,
        memory_coded_models=5 if quick else 20,
        scale_models=arguments.models or (100 if quick else 3_000),
        scale_loads=10 if quick else 50,
        silent_stock=arguments.silent_stock,
    )


def _leave(_signal: int, _frame: FrameType | None) -> None:
    """Turn SIGTERM into an exception, so that the servers are stopped on the way out."""
    sys.exit(1)


def main() -> int:
    """Run the experiments asked for, print the table and write the JSON."""
    arguments = _arguments()
    settings = _settings(arguments)
    signal.signal(signal.SIGTERM, _leave)
    console = Console() if sys.stdout.isatty() else Console(width=TABLE_WIDTH)
    rows: list[Row] = []
    failed: dict[str, str] = {}
    for name in dict.fromkeys(arguments.only):
        console.print(f"[bold]{name}[/bold]")
        with tempfile.TemporaryDirectory(prefix="mme-bench-") as scratch:
            try:
                bench = Bench(settings, Path(scratch), console.print)
                rows += EXPERIMENTS[name](bench)
            except FAILURES as error:
                # The other experiments may still have something to say.
                failed[name] = "\n".join([repr(error), *getattr(error, "__notes__", ())])
                console.print(f"{name} failed: {failed[name]}", style="red", markup=False)
    console.print(table(rows, {"throughput measured by": generator()}))
    write(arguments.json, rows, {**asdict(settings), "load_generator": generator()}, failed)
    console.print(f"written to {arguments.json}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
