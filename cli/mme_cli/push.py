"""`mme push`: the images, from the Docker engine to ECR or another registry."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mme_cli.failure import fail
from mme_cli.hosting import FAILED, REFUSED, Json, Local, Region, go_local, print_json, reported

if TYPE_CHECKING:
    from mme_hosting.images.plan import Plan, Step
    from mme_hosting.images.push import Pushed
    from mme_hosting.images.target import Target


def push(
    repository: Annotated[
        str, typer.Option(help="Repository; in ECR it is created if it is not there")
    ] = "xgboost-mme",
    tag: Annotated[
        str | None,
        typer.Option(help="Push as TAG-cpu and TAG-gpu [the image's version]", show_default=False),
    ] = None,
    registry: Annotated[
        str | None,
        typer.Option(
            metavar="HOST",
            help="Push to this registry instead of ECR, with no call to AWS: host:port, or "
            "http://host:port",
            show_default=False,
        ),
    ] = None,
    image: Annotated[
        list[str] | None,
        typer.Option(
            help="Image to push; can be repeated [xgboost-mme:cpu and xgboost-mme:gpu]",
            show_default=False,
        ),
    ] = None,
    region: Region = None,
    local: Local = False,
    allow_dirty: Annotated[
        bool,
        typer.Option("--allow-dirty", help="Also with changes in the tree that are not committed"),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check, say what would be done, and stop")
    ] = False,
    as_json: Json = False,
) -> None:
    """Push the images to Amazon ECR, and print what CreateModel takes.

    Tags are VERSION-cpu and VERSION-gpu, in a repository whose tags cannot be moved. Refused is
    what SageMaker would refuse. What is there already is not pushed again. The exit status is 1
    if a push has failed, and 2 if nothing was done.

    With MME_ECR_REGISTRY=host:port, images go there, and only the calls to ECR: for emulators.
    """
    if registry and region:
        fail("--region is for ECR: give it or --registry")
    if local and (registry or region):
        fail("--local has a region and an ECR of its own: give it alone")
    if local:
        _go_local()
    with reported(REFUSED):
        from mme_hosting.images.engine import connect
        from mme_hosting.images.plan import make_plan

        engine = connect()
        target = _target(repository, registry, region or _described(local or bool(registry)))
        plan = make_plan(
            engine,
            target,
            names=image or (),
            tag=tag,
            allow_dirty=allow_dirty,
            directory=Path(),
        )
    _show_plan(plan, to_stderr=as_json)
    done: list[Pushed] = []
    try:
        if not dry_run:
            _run(plan, engine, done, as_json)
    finally:
        if as_json:
            _print_json(plan, done, dry_run)


def _described(elsewhere: bool) -> str | None:
    """The region of mme.yaml, if there is one: the endpoint's image must be there."""
    from mme_hosting.settings import load

    return None if elsewhere else load(flags={"name": "any"}).region


def _go_local() -> None:
    """The local SageMaker's ECR has no registry behind it."""
    from mme_hosting.images.ecr import ADDRESS_VARIABLE

    go_local()
    if not os.environ.get(ADDRESS_VARIABLE):
        fail(
            "the local SageMaker has no registry: start one, and set "
            f"{ADDRESS_VARIABLE}=host:port. What mme deploy --local starts needs no push"
        )


def _target(repository: str, registry: str | None, region: str | None) -> Target:
    from mme_hosting.images.target import in_ecr, in_registry

    return in_registry(registry, repository) if registry else in_ecr(repository, region)


def _run(plan: Plan, engine: Any, done: list[Pushed], as_json: bool) -> None:
    from mme_hosting.images.push import push as run

    with reported(FAILED), _bar() as advance:
        for each in run(plan, engine, advance):
            done.append(each)
            if not as_json:
                typer.echo(f"{each.uri}: {each.status}\n  {each.fixed_uri}")


def _show_plan(plan: Plan, to_stderr: bool) -> None:
    if plan.target.is_new:
        typer.echo(
            f"create the repository {plan.target}: tags immutable, scanned on push", err=to_stderr
        )
    for step in plan.steps:
        typer.echo(_line(plan, step), err=to_stderr)
    for name in plan.missing:
        typer.echo(f"{name}: not built, and not pushed", err=to_stderr)
    for note in plan.notes:
        typer.echo(f"note: {note}", err=True)


def _line(plan: Plan, step: Step) -> str:
    where = f"{plan.target}:{step.tag}"
    size = f"{step.image.size / 1e6:,.0f} MB"
    match step.action:
        case "push":
            what = f"push to {where}"
        case "replace":
            what = f"push to {where}, in place of {step.found.digest if step.found else ''}"
        case "present":
            what = f"is at {where} already"
    return f"{step.image.name} ({step.image.platform}, {size}): {what}"


def _print_json(plan: Plan, done: list[Pushed], dry_run: bool) -> None:
    results = {each.image: each for each in done}
    shown = []
    for step in plan.steps:
        result = results.get(step.image.name)
        shown.append(
            {
                "image": step.image.name,
                "variant": step.image.variant,
                "uri": f"{plan.target}:{step.tag}",
                "action": step.action,
                "status": result.status if result else None,
                "digest": result.digest if result else None,
                "fixed_uri": result.fixed_uri if result else None,
            }
        )
    content = {
        "repository": str(plan.target),
        "create": plan.target.is_new,
        "dry_run": dry_run,
        "images": shown,
        "missing": plan.missing,
        "notes": plan.notes,
    }
    print_json(content)


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each image on a terminal, and nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    disabled = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=disabled) as progress:
        tasks: dict[str, Any] = {}

        def advance(tag: str, sent: int, expected: int) -> None:
            if tag not in tasks:
                tasks[tag] = progress.add_task(tag)
            progress.update(tasks[tag], completed=sent, total=max(sent, expected))

        yield advance
