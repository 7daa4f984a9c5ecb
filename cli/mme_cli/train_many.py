"""`mme train many`: a model for each city, customer or product of a table."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from mme_cli.failure import fail
from mme_cli.hosting import (
    REFUSED,
    Config,
    Local,
    describes_endpoint,
    open_context,
    reported,
)

if TYPE_CHECKING:
    from rich.console import Console

    from mme_training.many.sagemaker_jobs import Event
    from mme_training.many.sagemaker_table import JobTable
    from mme_training.many.work import Engine, Record


class EngineName(StrEnum):
    """What trains."""

    LOCAL = "local"
    RAY = "ray"
    SAGEMAKER = "sagemaker"


def many(
    segments: Annotated[
        Path,
        typer.Option(
            help="The table: a Parquet, Arrow or CSV file, or a directory of such files",
            show_default=False,
        ),
    ],
    by: Annotated[
        str, typer.Option(help="The column to split by: one model a value", show_default=False)
    ],
    label: Annotated[str, typer.Option(help="The column to predict", show_default=False)],
    out: Annotated[
        Path,
        typer.Option(
            help="Directory for the models and the manifest; a run into it goes on where the last "
            "one ended",
            show_default=False,
        ),
    ],
    features: Annotated[
        str | None,
        typer.Option(
            help="Columns to learn from, separated by commas; default: all others",
            show_default=False,
        ),
    ] = None,
    hyperparameters: Annotated[
        Path | None,
        typer.Option(help="JSON file with hyperparameters by name", show_default=False),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A hyperparameter, over that of the file; repeat for more",
            show_default=False,
        ),
    ] = None,
    engine: Annotated[EngineName, typer.Option(help="What trains")] = EngineName.LOCAL,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Models trained at once, one thread each; default: one for each CPU",
            show_default=False,
        ),
    ] = None,
    retries: Annotated[
        int, typer.Option(help="How often to try again a model whose process died", min=0)
    ] = 2,
    seed: Annotated[int, typer.Option(help="Of the split of each segment's rows", min=0)] = 0,
    extra: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PATH",
            help="A file that each archive gets, such as code/inference.py=my.py; repeat for more",
            show_default=False,
        ),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            help="--engine ray: the cluster, such as auto; default: this machine",
            show_default=False,
        ),
    ] = None,
    sagemaker: Annotated[
        Path | None,
        typer.Option(
            help="--engine sagemaker: JSON file with its options: role, image, s3_prefix, .. [of "
            "mme.yaml's endpoint]",
            show_default=False,
        ),
    ] = None,
    wait: Annotated[
        bool | None,
        typer.Option(
            "--wait/--no-wait",
            help="--engine sagemaker: wait for the jobs, shown in a table, or leave them to the "
            "next run [wait]",
            show_default=False,
        ),
    ] = None,
    config: Config = None,
    local: Local = False,
) -> None:
    """Split a table by a column and train a model for each value of it.

    Each segment's rows are split 60/30/10 into rows to learn from, to stop early by, and to judge
    by. The exit status is 0 when all models are there, 1 when some failed, and 130 or 143 when the
    run was stopped; the same command then goes on.
    """
    from rich.console import Console

    from mme_training.errors import TrainingError
    from mme_training.many.run import train_many

    options = _options(engine, sagemaker, config, local)
    given = {**_read(hyperparameters), **_pairs(assignments, "--set")}
    files = {name: Path(path) for name, path in _pairs(extra, "--extra").items()}
    console = Console(stderr=True)
    shown = _Jobs(console) if engine is EngineName.SAGEMAKER else _Bar(console)
    try:
        with _sigterm_stops(), shown:
            records = train_many(
                segments,
                by,
                label,
                out,
                _engine(engine, workers, retries, ray_address, options, wait, shown),
                given,
                features=[name.strip() for name in features.split(",")] if features else None,
                seed=seed,
                extra=files,
                on_start=shown.start,
                on_done=shown.step,
            )
    except (TrainingError, OSError) as error:
        fail(str(error))
    except (KeyboardInterrupt, _StoppedError) as stopped:
        typer.echo("mme: stopped; the same command goes on from here", err=True)
        raise typer.Exit(143 if isinstance(stopped, _StoppedError) else 130) from None
    raise typer.Exit(_summary(console, out, records, shown))


class _StoppedError(Exception):
    """SIGTERM."""


@contextmanager
def _sigterm_stops() -> Iterator[None]:
    """Make an exception of SIGTERM, so that the processes are ended and the manifest written."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise _StoppedError

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _options(
    name: EngineName, file: Path | None, config: Path | None, local: bool
) -> Mapping[str, Any]:
    """The options of SageMaker's jobs; what is not given is the endpoint's, if there is one."""
    if name is not EngineName.SAGEMAKER:
        for option, given in {"--sagemaker": file, "--config": config, "--local": local}.items():
            if given:
                fail(f"{option} is for --engine sagemaker")
        return {}
    options = _read(file)
    if not (config or local or describes_endpoint()):
        return options
    with reported(REFUSED):
        from mme_hosting.training import job_options

        return job_options(open_context(config, local), options)


def _engine(
    name: EngineName,
    workers: int | None,
    retries: int,
    ray_address: str | None,
    sagemaker: Mapping[str, Any],
    wait: bool | None,
    shown: _Shown,
) -> Engine:
    if ray_address and name is not EngineName.RAY:
        fail("--ray-address is for --engine ray")
    if wait is not None and name is not EngineName.SAGEMAKER:
        fail("--wait and --no-wait are for --engine sagemaker")
    if name is EngineName.LOCAL:
        from mme_training.many.local import LocalEngine

        return LocalEngine(workers, retries)
    if name is EngineName.RAY:
        from mme_training.many.ray_engine import RayEngine

        return RayEngine(ray_address, workers, retries)
    from pydantic import ValidationError

    from mme_training.many.sagemaker import SageMakerEngine
    from mme_training.many.sagemaker_options import SageMakerOptions, problems

    try:
        given = {"at_once": workers, "retries": retries, **sagemaker}
        options = SageMakerOptions(**given | ({} if wait is None else {"wait": wait}))
    except ValidationError as error:
        fail(problems(error.errors()))
    return SageMakerEngine(options, shown.event)


class _Shown:
    """What a run shows while it is under way, and counts."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.total = self.before = self.failed = 0

    def start(self, total: int, before: int) -> None:
        self.total, self.before = total, before

    def step(self, record: Record) -> None:
        self.failed += record.error is not None

    def event(self, event: Event) -> None:
        """Something is known anew of a job of SageMaker."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was."""


class _Bar(_Shown):
    """A bar on a terminal, and nothing elsewhere."""

    def __init__(self, console: Console) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        super().__init__(console)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            refresh_per_second=4,
        )
        self._task = self._bar.add_task("arranging the rows", total=None)

    def start(self, total: int, before: int) -> None:
        super().start(total, before)
        self._bar.update(self._task, description="training", total=total, completed=before)

    def step(self, record: Record) -> None:
        super().step(record)
        if self.failed:
            self._bar.update(self._task, description=f"training, {self.failed} failed")
        self._bar.advance(self._task)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


class _Jobs(_Shown):
    """The table of SageMaker's jobs."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._table: JobTable | None = None

    def start(self, total: int, before: int) -> None:
        from mme_training.many.sagemaker_table import JobTable

        super().start(total, before)
        self._table = JobTable(total - before, self.console)
        self._table.__enter__()

    def event(self, event: Event) -> None:
        if self._table:
            self._table(event)

    def __exit__(self, *_: object) -> None:
        if self._table:
            self._table.__exit__(None, None, None)


def _summary(console: Console, out: Path, records: Sequence[Record], shown: _Shown) -> int:
    """Say what has come of it; return the exit status."""
    from rich.table import Table

    failed = [record for record in records if record.error is not None]
    trained = [record for record in records if record.error is None]
    table = Table(show_header=False)
    for name, value in (
        ("models", f"{len(trained)}, {shown.before} of them from before"),
        ("failed", str(len(failed))),
        ("under way", str(shown.total - len(records))),
        *_medians(trained),
        ("manifest", str(out / "manifest.parquet")),
    ):
        if value != "0" or name.startswith("median"):
            table.add_row(name, value)
    console.print(table)
    for record in failed:
        typer.echo(f"mme: {record.segment}: {record.error}", err=True)
    return 1 if failed else 0


def _medians(records: Sequence[Record]) -> Iterator[tuple[str, str]]:
    from math import isfinite, nan
    from statistics import median

    for name in dict.fromkeys(name for record in records for name in record.metrics):
        values = [record.metrics.get(name, nan) for record in records]
        if numbers := [value for value in values if isfinite(value)]:
            yield f"median {name}", f"{median(numbers):.6g}"


def _pairs(given: Sequence[str] | None, option: str) -> dict[str, str]:
    pairs = {}
    for text in given or ():
        name, sign, value = text.partition("=")
        if not (name and sign):
            fail(f"{option} {text}: give NAME=VALUE")
        pairs[name] = value
    return pairs


def _read(file: Path | None) -> Mapping[str, Any]:
    if file is None:
        return {}
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        fail(f"{file} cannot be read as JSON: {error}")
    if not isinstance(content, dict):
        fail(f"{file} must hold a JSON object: names and values")
    return content
