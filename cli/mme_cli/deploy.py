"""`mme deploy`: an endpoint as mme.yaml describes it."""

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
    from mme_cli.steps import Outcome
    from mme_hosting.context import Context
    from mme_hosting.deploy.deploy import Prepared


def deploy(
    config: Config = None,
    name: Name = None,
    region: Region = None,
    local: Local = False,
    instances: Annotated[
        int | None, typer.Option(min=1, help="How many [mme.yaml's, 1]", show_default=False)
    ] = None,
    instance_type: Annotated[
        str | None, typer.Option(help="Of each [mme.yaml's, ml.m5.large]", show_default=False)
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="Image of the containers [mme.yaml's, what mme push has pushed]",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and stop")
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Make the endpoint what mme.yaml says, and wait until it serves.

    What is different is shown first, field by field. On a terminal it is asked for; elsewhere, as
    in CI, it is done. Run twice, the second changes nothing; interrupted, the next run goes on. The
    exit status is 1 if something was begun and has failed, and 2 if nothing was done.
    """
    with reported(REFUSED):
        context = open_context(
            config,
            local,
            name=name,
            region=region,
            instances=instances,
            instance_type=instance_type,
            image=image,
        )
    from mme_cli.steps import Outcome, Shown, reporting
    from mme_hosting.deploy.deploy import deploy as run
    from mme_hosting.deploy.deploy import prepare

    shown = Shown()
    outcome = Outcome({"endpoint": context.name, "region": context.aws.region, "dry_run": dry_run})
    with reporting("mme deploy", outcome, shown, as_json):
        prepared = prepare(context, shown, dry_run)
        outcome.steps, outcome.run = prepared.plan.steps, prepared.run
        _show(context, prepared, as_json)
        if not dry_run:
            _ask(context, prepared, yes)
            run(prepared)
            shown.end()
            _report(prepared, outcome, as_json)


def _show(context: Context, prepared: Prepared, to_stderr: bool) -> None:
    from mme_cli.steps import console, show

    out, plan = console(to_stderr), prepared.plan
    if not plan.steps:
        out.print(f"{context.name} in {context.aws.region} is as it should be: nothing to do")
    else:
        out.print(f"{context.name} in {context.aws.region}, account {context.aws.account}:")
        show(out, plan.steps)
    for note in plan.notes:
        out.print(f"note: {note}")


def _ask(context: Context, prepared: Prepared, yes: bool) -> None:
    from mme_cli.steps import confirm, is_asked
    from mme_hosting.errors import HostingError

    if yes or not prepared.plan.steps:
        return
    if is_asked():
        confirm("apply?")
    elif prepared.plan.takes_over:
        raise HostingError(
            f"{context.name} runs what mme deploy has not made: give --yes to take it over, or "
            "another --name"
        )


def _report(prepared: Prepared, outcome: Outcome, as_json: bool) -> None:
    from mme_hosting.deploy.present import find_endpoint

    run = prepared.run
    endpoint = find_endpoint(run.aws, run.name)
    if endpoint is None:
        return
    outcome.said |= {
        "status": endpoint.status,
        "configuration": endpoint.config,
        "instances": endpoint.current,
    }
    if not as_json and prepared.plan.steps:
        plural = "" if endpoint.current == 1 else "s"
        typer.echo(
            f"{run.name} is {endpoint.status}: {endpoint.config}, {endpoint.current} "
            f"instance{plural}"
        )
