"""`mme local`: a SageMaker on this machine, and AWS clients that find it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mme_cli.failure import fail

if TYPE_CHECKING:
    from mme_local.aws.address import Address
    from mme_local.settings import LocalSettings

app = typer.Typer(
    help="A SageMaker on this machine: train, host and invoke without AWS.", no_args_is_help=True
)


class Runtime(StrEnum):
    """What containers run as."""

    auto = "auto"
    docker = "docker"
    embedded = "embedded"


@app.command()
def up(
    detach: Annotated[bool, typer.Option("--detach", help="Run in the background")] = False,
    port: Annotated[
        int | None,
        typer.Option(
            help="Port of SageMaker and the page, 0 for any free one [MME_LOCAL_PORT, 8765]",
            min=0,
            max=65535,
            show_default=False,
        ),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            help="Keep buckets, roles, models and endpoints in this directory [MME_LOCAL_STATE]",
            file_okay=False,
            show_default=False,
        ),
    ] = None,
    runtime: Annotated[
        Runtime | None,
        typer.Option(
            help="auto: Docker where it has the image, else processes [MME_LOCAL_RUNTIME, auto]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Start S3, IAM, ECR, CloudWatch, SageMaker and its runtime on loopback.

    It runs until Ctrl-C or mme local down. Any credentials do.
    """
    given: dict[str, Any] = {
        "port": port,
        "state": state.resolve() if state else None,
        "runtime": runtime.value if runtime else None,
    }
    with _mistakes():
        from mme_local.up import run, start_detached

        settings = _settings(**given)
        if detach:
            _announce(start_detached(settings))
        else:
            run(settings, _announce)


@app.command("exec", context_settings={"ignore_unknown_options": True})
def execute(
    command: Annotated[
        list[str], typer.Argument(metavar="COMMAND...", help="A program and its arguments")
    ],
) -> None:
    """Run an AWS client, as it is, against the local SageMaker: mme local exec -- CMD ...

    Its environment names the endpoints, a region, credentials, and AWS_SAGEMAKER_ROLE. The exit
    status is the program's.
    """
    with _mistakes():
        from mme_local.aws.address import find
        from mme_local.aws.environment import client_environment

        run = _settings().run
        environment = client_environment(find(run), run, os.environ)
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606 - which is what it is for
    except FileNotFoundError:
        typer.echo(f"mme: there is no program {command[0]}", err=True)
        raise typer.Exit(127) from None  # as shells say it
    except OSError as error:
        typer.echo(f"mme: {command[0]} cannot be run: {error.strerror}", err=True)
        raise typer.Exit(126) from None


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Show where the local SageMaker is, its endpoints, models in memory and training jobs."""
    with _mistakes():
        import httpx

        from mme_local.aws.address import find

        address = find(_settings().run)
        try:
            answer = httpx.get(f"{address.sagemaker}/_mme/state", trust_env=False, timeout=10)
        except httpx.HTTPError as error:
            fail(f"{address.sagemaker} does not answer: {error}")
    found = answer.json()
    if as_json:
        import orjson

        whole = {"address": address.model_dump(), **found}
        typer.echo(orjson.dumps(whole, option=orjson.OPT_INDENT_2).decode())
    else:
        _show(address, found)


@app.command()
def logs(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[ENDPOINT|JOB]",
            help="Endpoint or training job [what mme local up --detach itself says]",
            show_default=False,
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more")] = False,
) -> None:
    """Print what an endpoint's or a training job's containers have written."""
    with _mistakes():
        from mme_local.aws.address import find
        from mme_local.aws.clients import Clients
        from mme_local.aws.tail import tail, tail_file
        from mme_local.up import LOG

        run = _settings().run
        with contextlib.suppress(KeyboardInterrupt):
            if name is None:
                if not (run / LOG).exists():  # of one that has ended, it says why
                    find(run)
                for line in tail_file(run / LOG, follow):
                    typer.echo(line)
                return
            address = find(run)
            client = Clients(address.aws, address.region).client("logs")
            for stream, line in tail(client, name, follow):
                typer.echo(f"{typer.style(stream, fg='cyan')} {line}")


@app.command()
def down() -> None:
    """End the local SageMaker, and the containers that it has started."""
    with _mistakes():
        from mme_local.up import stop

        address = stop(_settings().run)
    typer.echo(f"ended: {address.sagemaker}")


def _settings(**given: Any) -> LocalSettings:
    from mme_local.settings import LocalSettings

    return LocalSettings(**{name: value for name, value in given.items() if value is not None})


def _announce(address: Address) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    rows = {
        "page": address.sagemaker,
        "SageMaker": address.sagemaker,
        "S3 and others": address.aws,
        "role": address.role,
        "bucket": address.bucket,
        "containers": address.runtime,
    }
    console.print("[bold green]The local SageMaker is up.[/] Any AWS client, unchanged:")
    console.print("\n    mme local exec -- aws s3 ls\n", soft_wrap=True)
    for label, value in rows.items():
        console.print(f"  [dim]{label:<14}[/]{value}", soft_wrap=True)


def _show(address: Address, found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    console.print(f"SageMaker and page [bold]{address.sagemaker}[/], S3 {address.aws}", style="dim")
    endpoints = Table("endpoint", "status", "variant", "instances", "models", "memory", "hits")
    for row in _endpoint_rows(found["endpoints"]):
        endpoints.add_row(*map(escape, row))
    jobs = Table("training job", "status", "seconds", "metrics")
    for job in found["training_jobs"]:
        metrics = ", ".join(f"{name} {value:.6g}" for name, value in job["metrics"].items())
        cells = (job["name"], f"{job['status']}, {job['secondary']}", f"{job['seconds']:.1f}")
        jobs.add_row(*map(escape, (*cells, metrics)))
    for table, what in ((endpoints, "endpoints"), (jobs, "training jobs")):
        console.print(table if table.row_count else f"no {what}")


def _endpoint_rows(endpoints: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    for endpoint in endpoints:
        head = (endpoint["name"], endpoint["status"])
        if not endpoint["variants"]:
            yield (*head, "", "", "", "", "")
        for variant in endpoint["variants"]:
            instances, cache = variant["instances"], variant["cache"]
            used = sum(each["memory_used"] or 0 for each in instances)
            limit = sum(each["memory_limit"] or 0 for each in instances)
            yield (
                *head,
                variant["name"],
                f"{len(instances)} of {variant['desired']} {variant['instance_type']}",
                str(sum(len(each["loaded"]) for each in instances)),
                f"{used / 1e6:,.0f} of {limit / 1e6:,.0f} MB",
                f"{cache['hits']} of {cache['hits'] + cache['misses']}",
            )


@contextlib.contextmanager
def _mistakes() -> Iterator[None]:
    """End with a line for what the user can mend."""
    from pydantic import ValidationError

    try:
        from mme_local.errors import LocalError
    except ModuleNotFoundError as error:
        fail(f"{error.name} is not installed: pip install 'xgboost-mme[local]'")
    try:
        yield
    except LocalError as error:
        fail(str(error))
    except ValidationError as error:
        prefix = "MME_LOCAL_PLATFORM_" if error.title == "PlatformParameters" else "MME_LOCAL_"
        fail("; ".join(f"{prefix}{e['loc'][0]}".upper() + f": {e['msg']}" for e in error.errors()))
    except ModuleNotFoundError as error:
        fail(f"{error.name} is not installed: pip install 'xgboost-mme[local]'")
