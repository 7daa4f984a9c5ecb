"""`mme models`: the models of an endpoint, which come, change and go without a deployment."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mme_cli.failure import fail
from mme_cli.hosting import (
    FAILED,
    REFUSED,
    Config,
    Json,
    Local,
    Region,
    Yes,
    open_context,
    print_json,
    reported,
)

if TYPE_CHECKING:
    from mme_hosting.models.publish import Verb
    from mme_hosting.models.sources import Sources

app = typer.Typer(
    help="The models of an endpoint, which come, change and go without a deployment.",
    no_args_is_help=True,
)

Archives = Annotated[
    list[str],
    typer.Argument(
        metavar="ARCHIVE...",
        help="Archives, directories of them or what mme train many has made; also s3://…tar.gz, "
        "and s3://…/ for all below it",
        show_default=False,
    ),
]
ModelName = Annotated[
    str | None,
    typer.Option("--name", help="Name of the one model [that of the file]", show_default=False),
]
Under = Annotated[
    str | None,
    typer.Option(
        help="Put it before the names: --under company_a makes company_a/houston of houston.tar.gz",
        show_default=False,
    ),
]


@app.command()
def add(
    archives: Archives,
    name: ModelName = None,
    under: Under = None,
    config: Config = None,
    local: Local = False,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Upload archives of new models, and give them their names.

    One that a server would refuse is not uploaded; the others go on. What is there with the same
    content is left as it is. The exit status is 1 if any was refused or has failed, and 2 if
    nothing was done.
    """
    _publish("add", archives, name, under, config, local, region, as_json)


@app.command()
def update(
    archives: Archives,
    name: ModelName = None,
    under: Under = None,
    config: Config = None,
    local: Local = False,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Upload new versions of models that are there, and make them current.

    The versions before stay where they are: see mme models rollback. The exit status is 1 if any
    was refused or has failed, and 2 if nothing was done.
    """
    _publish("update", archives, name, under, config, local, region, as_json)


@app.command()
def ls(
    pattern: Annotated[
        str, typer.Argument(help="Names, with * and ? for any characters, also slashes")
    ] = "*",
    versions: Annotated[
        bool, typer.Option("--versions", help="A line for each version, not only the current one")
    ] = False,
    config: Config = None,
    local: Local = False,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """List the models: names, current versions, and the keys that requests name as target model.

    An archive that no name stands for, as training jobs put it there, is called by its key.
    """
    with reported(REFUSED):
        from mme_cli.model_tables import as_dict, show
        from mme_hosting.models.listing import models

        context = open_context(config, local, region=region)
        found = models(context, pattern)
    if as_json:
        shown = [as_dict(model) for model in found]
        print_json({"prefix": str(context.models), "models": shown})
        return
    if found:
        show(found, versions)
    else:
        which = "" if pattern == "*" else f" {pattern}"
        typer.echo(f"no models{which} at {context.models}", err=True)
    for model in found:
        if model.archive is None:
            typer.echo(
                f"mme: {model.name}: its archive {context.models.below(model.key)} is gone: "
                "mme models update or rollback makes another current",
                err=True,
            )


@app.command()
def rm(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Names of models", show_default=False)
    ],
    config: Config = None,
    local: Local = False,
    region: Region = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Remove models, with all their versions.

    An instance that has one loaded answers for it until it drops it.
    """
    with reported(REFUSED):
        from mme_hosting.models.remove import look, remove

        context = open_context(config, local, region=region)
        plan = look(context, names)
    if plan.keys and not yes:
        _ask(plan.keys)
    with reported():
        lost = remove(context, plan) if plan.keys else {}
    results = dict.fromkeys(plan.absent, "absent") | {
        name: "lost" if name in lost else "removed" for name in plan.keys
    }
    if as_json:
        print_json([{"name": name, "status": results[name]} for name in results])
    else:
        for name, status in results.items():
            if status != "lost":
                typer.echo(f"{name}: {'is not there' if status == 'absent' else status}")
    if "removed" in results.values():
        typer.echo("An instance that has one loaded answers for it until it drops it.", err=True)
    for reason in lost.values():
        typer.echo(f"mme: {reason}", err=True)
    if lost:
        raise typer.Exit(FAILED)


@app.command()
def rollback(
    name: Annotated[str, typer.Argument(help="Name of the model", show_default=False)],
    to: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION|KEY",
            help="Version to make current [the one that was before]",
            show_default=False,
        ),
    ] = None,
    config: Config = None,
    local: Local = False,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Make an earlier version of a model current again; the endpoint needs no update.

    Without --to each run goes one version further back; with --to a second run changes nothing.
    """
    with reported(REFUSED):
        from mme_hosting.models.rollback import look, roll_back

        context = open_context(config, local, region=region)
        step = look(context, name, to)
    with reported():
        roll_back(context, step)
    if as_json:
        print_json({"name": name, "from": step.before, "to": step.after})
    elif step.before == step.after:
        typer.echo(f"{name}: {step.after} is current already")
    else:
        typer.echo(f"{name}: {step.before} -> {step.after}")


# -- add, update ---------------------------------------------------------------------------------


def _publish(
    verb: Verb,
    archives: list[str],
    name: str | None,
    under: str | None,
    config: Path | None,
    local: bool,
    region: str | None,
    as_json: bool,
) -> None:
    with contextlib.ExitStack() as stack:
        with reported(REFUSED):
            from mme_hosting.models.sources import fetched, find

            context = open_context(config, local, region=region)
            client = partial(context.aws.client, "s3")
            sources = _named(find(archives, client), name, under)
            files = stack.enter_context(fetched(sources, client))
        with reported(), _bars(len(files)) as (inspected, uploaded):
            from mme_hosting.models.publish import BAD, publish

            outcomes = publish(context, verb, files, on_inspected=inspected, on_uploaded=uploaded)
    if as_json:
        print_json([{**asdict(each), "path": str(sources[each.name])} for each in outcomes])
    for each in outcomes:
        if each.error:
            typer.echo(f"mme: {each.error}", err=True)
        elif not as_json:
            typer.echo(f"{each.name}: {each.status}, {each.key}")
    bad = sum(each.status in BAD for each in outcomes)
    if bad and len(outcomes) > 1:
        typer.echo(f"mme: {bad} of {len(outcomes)} failed", err=True)
    if bad:
        nothing = all(each.status == "refused" for each in outcomes)
        raise typer.Exit(REFUSED if nothing else FAILED)


def _named(sources: Sources, name: str | None, under: str | None) -> Sources:
    """The archives by the names that they are to have."""
    from mme_hosting.models.publish import check

    if name is not None and len(sources) > 1:
        fail("--name is for one archive: --under puts a folder before the names of many")
    folder = f"{under.rstrip('/')}/" if under else ""
    named = {folder + (own if name is None else name): place for own, place in sources.items()}
    for each in named:
        check(each)
    return named


@contextlib.contextmanager
def _bars(total: int) -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
    """Two bars on a terminal, and nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        inspecting = progress.add_task("inspecting", total=total)
        uploading = progress.add_task("uploading", total=total)
        yield lambda: progress.advance(inspecting), lambda: progress.advance(uploading)


# -- rm ------------------------------------------------------------------------------------------


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _ask(keys: Any) -> None:
    for name, own in keys.items():
        typer.echo(f"{name}: {len(own)} version{'s' if len(own) != 1 else ''}", err=True)
    if not _is_terminal():
        fail("nothing is removed without a yes, and nobody can be asked here: give --yes")
    if not typer.confirm("Remove?", err=True):
        typer.echo("nothing is removed", err=True)
        raise typer.Exit(REFUSED)
