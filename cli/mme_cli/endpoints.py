"""`mme endpoints`: the multi-model endpoints of an account in a region."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from mme_cli.hosting import REFUSED, Json, Local, Region, go_local, print_json, reported

if TYPE_CHECKING:
    from mme_hosting.aws import Aws
    from mme_hosting.deploy.endpoints import Row


def endpoints(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Only this one", show_default=False)
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Also those that are not multi-model")
    ] = False,
    region: Region = None,
    local: Local = False,
    as_json: Json = False,
) -> None:
    """List the multi-model endpoints, whoever made them: status, instances, image, models."""
    with reported(REFUSED):
        from mme_hosting.deploy.endpoints import endpoints as find

        aws = _aws(region, local)
        rows = find(aws, name, every)
    if as_json:
        print_json([asdict(row) for row in rows])
    elif rows:
        _show(rows)
    else:
        kind = "endpoints" if every else "multi-model endpoints"
        typer.echo(f"there are no {kind} in {aws.region}")


def _aws(region: str | None, local: bool) -> Aws:
    """The account; its region is that of mme.yaml, if there is one here."""
    import os

    from mme_hosting.aws import Aws
    from mme_hosting.settings import PREFIX, read

    if local:
        return Aws(go_local().region)
    described = read().get("region")
    return Aws(
        region or os.environ.get(f"{PREFIX}REGION") or (str(described) if described else None)
    )


def _show(rows: list[Row]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    heads = ("endpoint", "status", "instances", "autoscaling", "image", "models", "created")
    table = Table(*(Column(head, overflow="fold") for head in heads))
    for row in rows:
        cells = (
            row.name,
            row.status,
            _instances(row),
            f"{row.autoscaling[0]} to {row.autoscaling[1]}" if row.autoscaling else "",
            row.tag or "",
            row.models or "",
            f"{row.created:%Y-%m-%d %H:%M}",
        )
        table.add_row(*map(escape, cells))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=10_000)  # nothing is cut for a program
    console.print(table)
    for row in rows:
        if row.reason:
            console.print(f"{escape(row.name)}: {escape(row.reason)}", soft_wrap=True)


def _instances(row: Row) -> str:
    count = str(row.current) if row.current == row.desired else f"{row.current} of {row.desired}"
    return f"{row.instance_type or '?'} x {count}"
