"""`mme delete`: an endpoint, and all that mme deploy has made for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mme_cli.hosting import (
    REFUSED,
    Config,
    Json,
    Local,
    Name,
    Region,
    Yes,
    open_context,
    reported,
)

if TYPE_CHECKING:
    from mme_hosting.deploy.delete import Deletion, Stays


def delete(
    config: Config = None,
    name: Name = None,
    region: Region = None,
    local: Local = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be deleted, and stop")
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Delete the endpoint, its autoscaling, alarms, configurations and models of SageMaker.

    The archives in S3, the logs and the image stay; what they cost is shown. On a terminal it is
    asked for; elsewhere --yes must be given. It ends when the endpoint is gone.
    """
    with reported(REFUSED):
        context = open_context(config, local, name=name, region=region)
    from mme_cli.steps import Outcome, Shown, confirm, is_asked, reporting
    from mme_hosting.deploy.delete import delete as run
    from mme_hosting.deploy.delete import prepare
    from mme_hosting.errors import HostingError

    shown = Shown()
    outcome = Outcome({"endpoint": context.name, "region": context.aws.region, "dry_run": dry_run})
    with reporting("mme delete", outcome, shown, as_json):
        deletion = prepare(context, shown)
        outcome.steps, outcome.run = deletion.steps, deletion.run
        outcome.said["stays"] = [_for_program(each) for each in deletion.stays]
        _show(f"{context.name} in {context.aws.region}", deletion, as_json)
        if dry_run or not deletion.steps:
            return
        if not yes and not is_asked():
            raise HostingError("there is nobody to ask: give --yes")
        if not yes:
            confirm("delete?")
        run(deletion)
        shown.end()
        if not as_json:
            typer.echo(f"{context.name} is deleted")


def _show(where: str, deletion: Deletion, to_stderr: bool) -> None:
    from mme_cli.steps import console, show
    from mme_hosting.deploy.delete import PRICES_FROM

    out = console(to_stderr)
    if deletion.steps:
        out.print(f"{where} goes, with all that was made for it:")
        show(out, deletion.steps)
    else:
        out.print(f"{where}: nothing is there")
    out.print(f"stays (prices: {PRICES_FROM}):")
    for each in deletion.stays:
        out.print(f"  = {each.what}{_cost(each)}")
        out.print(f"      {each.note}")
    if deletion.warning:
        out.print(f"note: {deletion.warning}")


def _cost(stays: Stays) -> str:
    if not stays.bytes or stays.monthly is None:
        return ""
    unit, size = ("GB", 2**30) if stays.bytes >= 2**29 else ("MB", 2**20)
    dollars = f"${stays.monthly:,.2f}" if stays.monthly >= 0.01 else "less than a cent"
    return f": {stays.bytes / size:,.1f} {unit} at ${stays.price} a GB and month, {dollars} a month"


def _for_program(stays: Stays) -> dict[str, object]:
    return {
        "what": stays.what,
        "note": stays.note,
        "bytes": stays.bytes,
        "usd_per_gb_month": stays.price,
        "usd_per_month": stays.monthly,
    }
