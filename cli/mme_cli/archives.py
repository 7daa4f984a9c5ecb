"""`mme pack`, `mme inspect` and `mme verify`: archives before they are deployed."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mme_cli.failure import fail

if TYPE_CHECKING:
    from mme_training.archives.assemble import Packed
    from mme_training.archives.inspection import Inspection, ModelFile
    from mme_training.archives.upload import Uploaded
    from mme_training.archives.verify import Verdict

_SHOWN = 12  # names in a cell of a table


class VersionStyle(StrEnum):
    """How a version is written in a key."""

    DIGEST = "digest"
    V = "v"


def pack(
    models: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL...",
            help="Model file, directory as training leaves it, or archive to pack again; "
            "an archive is made of each",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Directory for the archives, or the .tar.gz file to write "
            "[the current directory; none is kept with --upload]",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the model [that of the file]", show_default=False),
    ] = None,
    code: Annotated[
        Path | None,
        typer.Option(
            help="Directory with inference.py, to be the archive's code", show_default=False
        ),
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(help="The archive's mme.toml", show_default=False)
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            help="CSV file of rows that the archive carries with the model's predictions, "
            "for mme verify",
            show_default=False,
        ),
    ] = None,
    upload: Annotated[
        str | None,
        typer.Option(help="Upload below this prefix, s3://bucket/prefix/", show_default=False),
    ] = None,
    version_style: Annotated[
        VersionStyle | None,
        typer.Option(
            help="Upload as a new version: NAME/3-0123456789ab.tar.gz (digest) or "
            "NAME_v3.tar.gz (v); nothing for bytes that are the latest version's",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make archives that the server loads; the same model gives the same bytes.

    A model that the server would refuse is not packed, and the reason is told.
    """
    from mme_training.archives.assemble import assemble

    if version_style and not upload:
        fail("--version-style is for --upload")
    with tempfile.TemporaryDirectory(prefix="mme-pack-") as scratch, _mistakes():
        place = out or (Path(scratch) if upload else Path())
        targets = _targets(models, place, name)
        for source, target in zip(models, targets.values(), strict=True):
            done = assemble(source, target, code=code, settings=settings, check=check)
            _show_packed(done, kept=out is not None or not upload)
        if upload:
            _upload(targets, upload, version_style)


def inspect(
    archive: Annotated[
        str, typer.Argument(help="Archive, unpacked directory, or s3://bucket/key.tar.gz")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Show what a server will see in an archive; nothing of it is run.

    The exit code is 1 if a server would refuse it.
    """
    with _mistakes():
        found = _inspect(archive)
    if as_json:
        import orjson

        # An archive's names need not be UTF-8.
        text = orjson.dumps(_clean(found.as_dict()), option=orjson.OPT_INDENT_2)
        typer.echo(text.decode())
    else:
        _show_inspection(found)
    if not found.loads:
        raise typer.Exit(1)


def verify(
    archives: Annotated[
        list[Path], typer.Argument(metavar="ARCHIVE...", help="Archives", show_default=False)
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            help="CSV file of rows to send [the archive's check.csv]",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(help="Port to serve on [a free one]", min=1, max=32766, show_default=False),
    ] = None,
) -> None:
    """Load archives into a real server, and compare its answers with the trainer's to the bit.

    Code that an archive brings is run. The exit code is 1 if an archive fails or answers otherwise.
    """
    for archive in archives:
        if str(archive).startswith("s3:/"):  # a path has no two slashes
            fail(f"{archive} is in S3: fetch it first, mme verify takes files")
    with _mistakes(extra="local"):
        from mme_training.archives.verify import verify as run

        verdicts = run(archives, data, port, _show_verdict)
    bad = sum(verdict.status != "ok" for verdict in verdicts)
    if len(verdicts) > 1:
        typer.echo(f"{len(verdicts) - bad} of {len(verdicts)} ok")
    if bad:
        raise typer.Exit(1)


# -- pack ----------------------------------------------------------------------------------------


def _targets(sources: list[Path], out: Path, name: str | None) -> dict[str, Path]:
    """The archive to make of each source, by the model's name, in the order of the sources."""
    from mme_training.archives.assemble import SUFFIXES, name_of
    from mme_training.archives.keys import SUFFIX, check_name

    is_file = out.name.endswith(SUFFIXES) and not out.is_dir()
    if len(sources) > 1 and (name or is_file):
        fail("give a name, or a file to write, for one model at a time")
    targets: dict[str, Path] = {}
    for source in sources:
        own = name or name_of(out if is_file else source)
        check_name(own)
        target = out if is_file else out / f"{own}{SUFFIX}"
        if own in targets:
            fail(f"two models would both be {target}: pack one at a time, with --name")
        if target.exists() and source.exists() and target.samefile(source):
            fail(f"{source} would be replaced by itself: give another place with --out")
        if source.is_dir() and target.resolve().is_relative_to(source.resolve()):
            fail(f"{target} would be in the directory to pack: give another place with --out")
        targets[own] = target
    return targets


def _show_packed(done: Packed, kept: bool) -> None:
    for note in done.notes:
        typer.echo(f"{done.inspection.source}: {note}", err=True)
    if kept:
        typer.echo(f"{done.archive}: {_size(done.size)}, sha256 {done.sha256}")


def _upload(archives: dict[str, Path], prefix: str, style: VersionStyle | None) -> None:
    with _mistakes(extra="train"):
        from mme_training.archives.upload import upload as run

        with _bar("uploading", len(archives)) as advance:
            results = run(
                archives,
                prefix,
                style=style.value if style else None,
                on_done=lambda _: advance(),
            )
    _show_uploads(results)


def _show_uploads(results: list[Uploaded]) -> None:
    for result in results:
        if not result.error:
            typer.echo(f"{result.place}: {result.status}")
    errors = [result.error for result in results if result.error]
    for error in errors[:_SHOWN]:
        typer.echo(f"mme: {error}", err=True)
    if len(errors) > _SHOWN:
        typer.echo(f"mme: and {len(errors) - _SHOWN} more were not uploaded", err=True)
    if errors:
        raise typer.Exit(1)


@contextlib.contextmanager
def _bar(what: str, total: int) -> Iterator[Any]:
    """A bar on a terminal, and nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)


# -- inspect -------------------------------------------------------------------------------------


def _inspect(archive: str) -> Inspection:
    from mme_training.archives.inspection import inspect_archive, inspect_directory

    if not re.match("s3://", archive):
        path = Path(archive)
        return inspect_directory(path) if path.is_dir() else inspect_archive(path)
    with _mistakes(extra="train"):
        from mme_training import s3
    with tempfile.TemporaryDirectory(prefix="mme-inspect-") as scratch:
        target = Path(scratch, "archive.tar.gz")
        s3.download(s3.make_client(), s3.parse(archive), target)
        return inspect_archive(target, archive)


def _show_inspection(found: Inspection) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    table = Table(title=escape(_clean(found.source)), show_header=False, title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in _facts(found):
        table.add_row(label, escape(_clean(value)))
    console.print(table)
    for problem in found.problems:
        mark = "[red]refused[/]" if problem.refused else "[yellow]note[/]"
        console.print(f"{mark}: {escape(_clean(str(problem)))}", soft_wrap=True)
    console.print("[green]a server loads it[/]" if found.loads else "[red]no server loads it[/]")


def _facts(found: Inspection) -> Iterator[tuple[str, str]]:
    own = found.home == "isolated"
    home = "a process of its own" if own else "a host shared with other models"
    yield "home", f"{home}: {found.home_reason}"
    packed = f", packed {_size(found.archive_bytes)}" if found.archive_bytes is not None else ""
    yield "memory", f"about {_size(found.memory)}"
    yield "size", f"{_size(sum(found.files.values()))} in {len(found.files)} files{packed}"
    for model in found.models:
        yield "model file", f"{model.name}: {model.error or _about(model)}"
    if found.models and not found.models[0].error:
        yield from _about_columns(found.models[0])
    if found.outputs is not None:
        yield "answers", f"{found.outputs} value{'s' if found.outputs > 1 else ''} a row"
    if found.settings:
        yield "settings", ", ".join(f"{key} = {value}" for key, value in found.settings.items())
    if found.script:
        defined = found.script.service or ", ".join(found.script.hooks) or "no known function"
        more = " and what it imports with *" if found.script.unknown else ""
        yield "code", f"{found.script.name}: {defined}{more}"
    if found.requirements:
        yield "requirements", _some(found.requirements)
    check = f"{found.check_rows} with predictions" if found.check_rows else "none: see mme verify"
    yield "check rows", check
    yield "files", _some([f"{name} ({_size(size)})" for name, size in found.files.items()])


def _about(model: ModelFile) -> str:
    written = f"XGBoost {model.xgboost}" if model.xgboost else "an unknown XGBoost"
    best = f", best_iteration {model.best_iteration}" if model.best_iteration is not None else ""
    trees = f", {model.trees} trees" if model.trees else ""
    classes = f", {model.classes} classes" if model.classes else ""
    return (
        f"{_size(model.bytes)}, {model.format} of {written}, {model.booster}, {model.objective}"
        f"{classes}, {model.rounds} rounds{trees}{best}"
    )


def _about_columns(model: ModelFile) -> Iterator[tuple[str, str]]:
    names = f": {_some(model.feature_names)}" if model.feature_names else ", without names"
    yield "features", f"{model.features}{names}"
    if model.feature_types:
        yield "types", _some(model.feature_types)
    for name, categories in model.categories.items():
        yield "categories", f"{name}: {_some(categories)}"


def _some(values: list[str] | tuple[str, ...]) -> str:
    more = len(values) - _SHOWN
    return ", ".join(values[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


# -- verify --------------------------------------------------------------------------------------


def _show_verdict(verdict: Verdict) -> None:
    rows = f"{verdict.rows} row{'s' if verdict.rows != 1 else ''}"
    match verdict.status:
        case "failed":
            text = f"failed: {verdict.reason}"
        case "differs":
            text = f"differs: {verdict.difference}"
        case _ if verdict.compared:
            text = f"ok: {rows} equal to {' and '.join(verdict.compared)}, bit for bit"
        case _:
            text = f"ok: {verdict.reason}"
    typer.echo(f"{verdict.archive}: {text}")
    if verdict.answers and not verdict.compared:
        typer.echo(f"  answer: {verdict.answers}")


# -- all -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _mistakes(extra: str | None = None) -> Iterator[None]:
    """End with a line for what the user can mend; `extra` is what an import in it needs."""
    from mme_training.archives.pack import ArchiveError
    from mme_training.errors import TrainingError

    try:
        yield
    except (TrainingError, ArchiveError) as error:
        fail(str(error))
    except ModuleNotFoundError as error:
        wanted = f"xgboost-mme[{extra}]" if extra else "xgboost-mme"
        fail(f"{error.name} is not installed: pip install '{wanted}'")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        fail(f"{where}{error.strerror or error}")


def _clean(value: Any) -> Any:
    """Text that can be printed, also where it holds names that are not UTF-8."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_clean(key): _clean(each) for key, each in value.items()}
    return [_clean(each) for each in value] if isinstance(value, list | tuple) else value


def _size(amount: int) -> str:
    """Bytes for a person."""
    if amount < 1000:
        return f"{amount} B"
    return f"{amount / 1e3:,.1f} kB" if amount < 1e6 else f"{amount / 1e6:,.1f} MB"
