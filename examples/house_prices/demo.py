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

import httpx
import numpy as np
import pandas as pd
import xgboost as xgb
from endpoint import DemoError, Endpoint, identify
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from mme_training.houses import CITIES, COLUMNS, FEATURES, LABEL
from mme_training.many import Job, Outcome, train_many
from mme_training.pack import MODEL_NAME, unpack

WARM_CALLS: Final = 50
SERVER_LOG: Final = "server.log"
LOG_LINES_SHOWN: Final = 30

console = Console(highlight=False)


@dataclass
class City:
    """One city's model: where it is, what to ask it, what XGBoost itself answers, what we saw."""

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

    def ask(self, endpoint: Endpoint, rows: Sequence[str]) -> NDArray[np.float32]:
        """The server's predictions for `rows`."""
        answer = endpoint.invoke(self.id, self.archive.name, "\n".join(rows))
        return np.array(answer.split(), dtype=np.float32)


def main() -> int:
    """Run the demo; return the exit status."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is stopped too
    started = time.perf_counter()
    with _work_directory(arguments.keep) as work:
        try:
            run(work)
        except (DemoError, httpx.HTTPError, OSError, ValueError) as error:
            _show_failure(error, work / SERVER_LOG)
            return 1
    if arguments.keep:
        console.print(f"\nKept in [bold]{arguments.keep}[/bold]")
    console.print(f"\n[bold green]All checks passed[/] in {time.perf_counter() - started:.1f} s")
    return 0


def run(work: Path) -> None:
    """Train, serve, unload, load again, stop."""
    _title(f"1. Train {len(CITIES)} models, one for each city")
    outcomes = train(work / "houses")
    cities = [prepare(outcome, work / "opt/ml/models") for outcome in outcomes]
    size = sum(city.archive.stat().st_size for city in cities)
    console.print(f"{len(cities)} archives, {size / 1e6:.1f} MB, e.g. {cities[0].archive.name}")

    _title("2. Start one server")
    started = time.perf_counter()
    with Endpoint(work / "opt/ml/models", work / SERVER_LOG) as endpoint:
        seconds = time.perf_counter() - started
        console.print(f"Ready on 127.0.0.1:{endpoint.port} in {seconds:.1f} s, pid {endpoint.pid}")
        _title("3. Load every model and ask it for the price of houses it has never seen")
        measure(endpoint, cities)
        console.print(report(cities, endpoint.memory()))
        console.print("Every answer equals Booster.predict on the same rows, bit for bit")
        _title("4. Unload half of the models, and load them again")
        unload_and_reload(endpoint, cities)
        _title("5. Stop the server")
        status = endpoint.stop()
        _check(status == 0, f"the server ended with status {status}, not 0")
        console.print("SIGTERM, exit status 0")


def train(out: Path) -> list[Outcome]:
    """Train and pack every city's model, in as many processes as there are cores."""
    columns = (
        TextColumn("{task.description:16}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("Training", total=len(CITIES))

        def done(outcome: Outcome) -> None:
            progress.update(task, advance=1, description=outcome.city)

        outcomes = train_many([Job(city, out) for city in CITIES], on_done=done)
        progress.update(task, description="Trained")
    for outcome in outcomes:
        _check(outcome.error is None, f"{outcome.city} was not trained: {outcome.error}")
    return outcomes


def prepare(outcome: Outcome, models: Path) -> City:
    """Unpack an archive where SageMaker would, and read the test houses that belong to it."""
    if outcome.path is None or outcome.rmse is None:
        raise DemoError(f"{outcome.city} has no archive")
    directory = models / identify(outcome.path.name) / "model"
    unpack(outcome.path, directory)
    test = outcome.path.with_name("test.csv")
    houses = pd.read_csv(test, header=None, names=list(COLUMNS))
    return City(
        name=outcome.city,
        archive=outcome.path,
        directory=directory,
        rows=[line.partition(",")[2] for line in test.read_text().splitlines()],
        actual=houses[LABEL].to_numpy(dtype=np.float64),
        expected=xgb.Booster(model_file=directory / MODEL_NAME).predict(
            xgb.DMatrix(houses[list(FEATURES)])
        ),
        training_rmse=outcome.rmse,
    )


def measure(endpoint: Endpoint, cities: Sequence[City]) -> None:
    """Load each model, check its answers, and time both."""
    for city in cities:
        city.load_ms = _milliseconds(partial(endpoint.load, city.id, city.directory))
        check_answers(endpoint, city)
    for city in cities:
        city.warm_ms = statistics.median(
            _milliseconds(partial(city.ask, endpoint, [row]))
            for row in (city.rows * WARM_CALLS)[:WARM_CALLS]
        )
    _check(endpoint.models() == {city.id for city in cities}, "the server lists other models")


def check_answers(endpoint: Endpoint, city: City) -> None:
    """Compare the server's answers with those of XGBoost in this process, bit for bit."""
    served = city.ask(endpoint, city.rows)
    _check(
        np.array_equal(served, city.expected),
        f"{city.name}: the server's predictions are not those of Booster.predict",
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


def unload_and_reload(endpoint: Endpoint, cities: Sequence[City]) -> None:
    """Show that unloading takes away just the models meant, and that they can come back."""
    half = len(cities) // 2
    gone, kept = cities[:half], cities[half:]
    for city in gone:
        endpoint.unload(city.id)
    for city in gone:
        endpoint.invoke(city.id, city.archive.name, city.rows[0], expect=404)
    for city in kept:
        check_answers(endpoint, city)
    _check(endpoint.models() == {city.id for city in kept}, "the server lists unloaded models")
    console.print(f"{len(gone)} unloaded: they answer 404, the other {len(kept)} answer as before")
    for city in gone:
        endpoint.load(city.id, city.directory)
        check_answers(endpoint, city)
    console.print(f"{len(gone)} loaded again: all {len(endpoint.models())} answer as before")


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
