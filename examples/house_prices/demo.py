"""Ten cities, ten models, one server: trains, serves, checks, and shows what came back.

Run it with ``make demo``. It needs no AWS account, no Docker and no Java, and talks to 127.0.0.1
only. Every step checks what it claims; the first that does not hold ends the demo with status 1.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from mme_training.archives.pack import unpack
from mme_training.errors import TrainingError
from mme_training.house_files import CITY, TABLE_NAME, write_table
from mme_training.houses import CITIES, FEATURES, HYPERPARAMETERS, LABEL, SEED, make_houses
from mme_training.many.local import LocalEngine
from mme_training.many.manifest import PREDICTIONS
from mme_training.many.run import train_many
from mme_training.many.work import Record
from mme_training.report.page import write_report
from mme_training.server import Server, identify
from mme_training.split import split

ROWS: Final = 1000
WARM_CALLS: Final = 50
SERVER_LOG: Final = "server.log"
LOG_LINES_SHOWN: Final = 30

console = Console(highlight=False)


class DemoError(Exception):
    """Something is not as it should be; the message says what."""


@dataclass
class City:
    """One city's model: where it is, what to ask it, what its trainer predicted, what we saw."""

    name: str
    archive: Path
    directory: Path
    rows: list[str]
    """CSV lines of the test houses, without their price."""
    actual: NDArray[np.float64]
    expected: NDArray[np.float32]
    training_rmse: float
    load_ms: float = math.nan
    warm_ms: float = math.nan

    @property
    def id(self) -> str:
        """The model's name on the server."""
        return identify(self.archive.name)

    def ask(self, server: Server, rows: Sequence[str]) -> NDArray[np.float32]:
        """The server's predictions for `rows`."""
        answer = server.invoke(self.id, "\n".join(rows), accept="text/csv")
        return np.array(answer.text.split(), dtype=np.float32)


def main() -> int:
    """Run the demo; return the exit status."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is stopped too
    started = time.perf_counter()
    with _work_directory(arguments.keep) as work:
        try:
            run(work)
        except (DemoError, TrainingError, OSError, ValueError) as error:
            _show_failure(error, work / SERVER_LOG)
            return 1
    if arguments.keep:
        console.print(f"\nKept in [bold]{arguments.keep}[/bold]")
    console.print(f"\n[bold green]All checks passed[/] in {time.perf_counter() - started:.1f} s")
    return 0


def run(work: Path) -> None:
    """Train, serve, unload, load again, stop."""
    _title(f"1. Train {len(CITIES)} models, one for each city, from one table of houses")
    out = work / "models"
    records = train(work, out)
    cities = prepare(records, out, work / "opt/ml/models")
    size = sum(record.size for record in records)
    console.print(f"{len(cities)} archives, {size / 1e6:.1f} MB, e.g. {cities[0].archive.name}")
    console.print(f"A page to look at them: {write_report(out).name}")

    _title("2. Start one server")
    started = time.perf_counter()
    with Server(work / "opt/ml/models", work / SERVER_LOG) as server:
        seconds = time.perf_counter() - started
        console.print(f"Ready on 127.0.0.1:{server.port} in {seconds:.1f} s, pid {server.pid}")
        _title("3. Load every model and ask it for the price of houses it has never seen")
        measure(server, cities)
        console.print(report(cities, server.memory()))
        console.print("Every answer equals the trainer's prediction for the same row, bit for bit")
        _title("4. Unload half of the models, and load them again")
        unload_and_reload(server, cities)
        _title("5. Stop the server")
        status = server.stop()
        _check(status == 0, f"the server ended with status {status}, not 0")
        console.print("SIGTERM, exit status 0")


def train(work: Path, out: Path) -> list[Record]:
    """Write the houses, then train and pack a model for each city on all cores."""
    write_table(str(work), CITIES, ROWS)
    columns = (
        TextColumn("{task.description:16}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("Training", total=len(CITIES))
        records = train_many(
            work / TABLE_NAME,
            by=CITY,
            label=LABEL,
            out=out,
            engine=LocalEngine(),
            hyperparameters=HYPERPARAMETERS,
            features=FEATURES,
            seed=SEED,
            on_done=lambda record: progress.update(task, advance=1, description=record.segment),
        )
        progress.update(task, description="Trained", completed=len(records))
    for record in records:
        _check(record.error is None, f"{record.segment} was not trained: {record.error}")
    return records


def prepare(records: Sequence[Record], out: Path, models: Path) -> list[City]:
    """Unpack each archive where SageMaker would, and find the houses that judged its model."""
    predictions = pq.read_table(out / PREDICTIONS).to_pandas()
    cities = []
    for record in records:
        archive = out / str(record.path)
        directory = models / identify(archive.name) / "model"
        unpack(archive, directory)
        # The trainer has set aside the same rows, for it split them with the same seed.
        test = split(make_houses(record.segment, ROWS), SEED).test
        judged = predictions[predictions["segment"] == record.segment]
        _check(
            np.array_equal(judged["label"], test[LABEL].astype(np.float32)),
            f"{record.segment}: the trainer has set aside other houses",
        )
        cities.append(
            City(
                name=record.segment,
                archive=archive,
                directory=directory,
                rows=test[list(FEATURES)].to_csv(header=False, index=False).splitlines(),
                actual=test[LABEL].to_numpy(dtype=np.float64),
                expected=judged["prediction"].to_numpy(dtype=np.float32),
                training_rmse=record.metrics["test-rmse"],
            )
        )
    return cities


def measure(server: Server, cities: Sequence[City]) -> None:
    """Load each model, check its answers, and time both."""
    for city in cities:
        city.load_ms = _milliseconds(partial(server.load, city.id, city.directory))
        check_answers(server, city)
    for city in cities:
        city.warm_ms = statistics.median(
            _milliseconds(partial(city.ask, server, [row]))
            for row in (city.rows * WARM_CALLS)[:WARM_CALLS]
        )
    _check(server.models() == {city.id for city in cities}, "the server lists other models")


def check_answers(server: Server, city: City) -> None:
    """Compare the server's answers with the trainer's predictions, bit for bit."""
    served = city.ask(server, city.rows)
    _check(
        np.array_equal(served, city.expected),
        f"{city.name}: the server's predictions are not the trainer's",
    )
    _check(
        math.isclose(_rmse(served, city.actual), city.training_rmse, rel_tol=1e-6),
        f"{city.name}: the RMSE is not the one found in training",
    )


def report(cities: Sequence[City], memory: dict[str, float]) -> Table:
    """What was asked, answered and measured."""
    table = Table(
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        caption="prices in dollars; cold: the load; warm: the median of "
        f"{WARM_CALLS} calls\nof one row over HTTP; MB: the memory that the metrics show",
    )
    table.add_column("city", no_wrap=True)
    for heading in ("rows", "predicted", "actual", "RMSE", "cold ms", "warm ms", "MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    for city in cities:
        _check(memory.get(city.id, 0) > 0, f"the metrics do not show the memory of {city.name}")
        table.add_row(
            city.name,
            f"{len(city.rows)}",
            f"{city.expected[0]:,.0f}",
            f"{city.actual[0]:,.0f}",
            f"{_rmse(city.expected, city.actual):,.0f}",
            f"{city.load_ms:.1f}",
            f"{city.warm_ms:.2f}",
            f"{memory[city.id] / 1e6:.2f}",
        )
    return table


def unload_and_reload(server: Server, cities: Sequence[City]) -> None:
    """Show that unloading takes away just the models meant, and that they can come back."""
    half = len(cities) // 2
    gone, kept = cities[:half], cities[half:]
    for city in gone:
        server.unload(city.id)
    for city in gone:
        server.invoke(city.id, city.rows[0], expect=404)
    for city in kept:
        check_answers(server, city)
    _check(server.models() == {city.id for city in kept}, "the server lists unloaded models")
    console.print(f"{len(gone)} unloaded: they answer 404, the other {len(kept)} answer as before")
    for city in gone:
        server.load(city.id, city.directory)
        check_answers(server, city)
    console.print(f"{len(gone)} loaded again: all {len(server.models())} answer as before")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--keep", metavar="DIR", type=Path, help="work in DIR and leave all there")
    return parser.parse_args()


@contextlib.contextmanager
def _work_directory(keep: Path | None) -> Iterator[Path]:
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="house-prices-") as directory:
        yield Path(directory)


def _show_failure(error: Exception, log: Path) -> None:
    errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    if log.exists():
        last = log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        errors.print("\nThe end of the server's log:", style="bold")
        errors.print("\n".join(last))
    errors.print(f"\nThe demo failed: {error or type(error).__name__}", style="red")


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise DemoError(otherwise)


def _milliseconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1e3


def _rmse(predicted: NDArray[np.float32], actual: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean((predicted - actual) ** 2)))


def _title(text: str) -> None:
    console.print(f"\n[bold cyan]{text}[/]")


if __name__ == "__main__":
    sys.exit(main())
