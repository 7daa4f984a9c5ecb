"""`mme doctor`: what an endpoint needs, checked before it is deployed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mme_cli.hosting import (
    FAILED,
    REFUSED,
    Config,
    Json,
    Local,
    Name,
    Region,
    go_local,
    open_context,
    print_json,
    reported,
)

if TYPE_CHECKING:
    from pathlib import Path

    from mme_hosting.doctor.findings import Finding
    from mme_hosting.doctor.setup import Setup

_SIGNS = {"ok": "✓", "warning": "!", "failed": "✗", "skipped": "-"}
_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}
_WIDE = 100_000  # of what is no terminal: nothing is wrapped


def doctor(
    config: Config = None,
    name: Name = None,
    region: Region = None,
    local: Local = False,
    training: Annotated[
        bool,
        typer.Option("--training", help="Also whether training jobs can have the role and type"),
    ] = False,
    as_json: Json = False,
) -> None:
    """Check what an endpoint needs: credentials, role, bucket, models, image, instances, quota.

    Nothing is changed. Under what is wrong stands the command that mends it. The exit status is
    1 if anything has failed.
    """
    with reported(REFUSED):
        from mme_hosting.doctor.run import examine

        setup = _setup(config, local, training, name=name, region=region)
        found = examine(setup)
    if as_json:
        print_json([asdict(each) for each in found])
    else:
        _print(found)
    if any(each.status == "failed" for each in found):
        raise typer.Exit(FAILED)


def _setup(config: Path | None, local: bool, training: bool, **flags: Any) -> Setup:
    """The settings as the other verbs have them; what is wrong with them is for a check to say."""
    from mme_hosting.doctor.setup import Setup
    from mme_hosting.errors import HostingError
    from mme_hosting.settings import Deployment, load

    if local:
        flags["region"] = go_local().region
    deployment: Deployment | HostingError
    try:
        deployment = load(config, flags)
    except HostingError as error:
        deployment = error
    else:
        if local:
            deployment = open_context(config, local, **flags).deployment
    return Setup(deployment, flags["region"], local, training)


def _print(found: Sequence[Finding]) -> None:
    """Aligned, and with each command on a line of its own, to be copied."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console.width = _WIDE
    signs = _SIGNS if console.encoding.lower().startswith("utf") else dict.fromkeys(_SIGNS, " ")
    subject = max(len(each.subject) for each in found)
    for each in found:
        row = Table.grid(padding=(0, 2))
        row.add_column(min_width=len("! warning"), no_wrap=True)
        row.add_column(min_width=subject, no_wrap=True)
        row.add_column(overflow="fold")
        status = Text(f"{signs[each.status]} {each.status}", _STYLES[each.status])
        row.add_row(status, each.subject, Text(each.text))
        console.print(row)
        if each.fix:
            console.print(Text(f"    {each.fix}", "bold"), soft_wrap=True)
    counts = {status: sum(each.status == status for each in found) for status in _SIGNS}
    console.print(Text(", ".join(f"{n} {status}" for status, n in counts.items() if n)))
