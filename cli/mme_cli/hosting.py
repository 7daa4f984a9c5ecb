"""What the commands about an endpoint share: where it is described, which AWS, and failures."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mme_cli.failure import fail

if TYPE_CHECKING:
    from mme_hosting.context import Context
    from mme_local.aws.address import Address

FAILED = 1
"""Exit status where something was begun and has failed."""
REFUSED = 2
"""Exit status where nothing was done."""

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="File that describes the endpoint [mme.yaml]", show_default=False
    ),
]
Local = Annotated[
    bool, typer.Option("--local", help="The local SageMaker instead of AWS: see mme local up")
]
Region = Annotated[
    str | None,
    typer.Option(help="Region [mme.yaml's, or as AWS's tools find it]", show_default=False),
]
Name = Annotated[
    str | None,
    typer.Option("--name", help="Name of the endpoint [mme.yaml's]", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, all else to stderr")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask")]


def open_context(config: Path | None, local: bool, **flags: Any) -> Context:
    """The endpoint that a command is about, and its AWS.

    `local` leads all calls to the local SageMaker, with its region and its role.

    Raises:
        HostingError: the settings are wrong, or AWS cannot be set up.
    """
    from mme_hosting.aws import Aws
    from mme_hosting.context import Context
    from mme_hosting.settings import load

    if not local:
        deployment = load(config, flags)
        return Context(deployment, Aws(deployment.region))
    address = go_local()
    deployment = load(config, {**flags, "region": address.region})
    from mme_local.settings import ACCOUNT

    if f":{ACCOUNT}:" not in (deployment.role or ""):  # one of AWS's is not there
        deployment = deployment.model_copy(update={"role": address.role})
    context = Context(deployment, Aws(address.region))
    _make_bucket(context)
    return context


def describes_endpoint() -> bool:
    """Whether there is an mme.yaml here, or a variable that names an endpoint."""
    return Path("mme.yaml").exists() or "MME_DEPLOY_NAME" in os.environ


def go_local() -> Address:
    """Lead all calls of this process to the local SageMaker; where that is."""
    try:
        from mme_local.aws.address import find
        from mme_local.aws.environment import client_environment
        from mme_local.errors import LocalError
        from mme_local.settings import LocalSettings
    except ModuleNotFoundError as error:
        fail(f"{error.name} is not installed: pip install 'xgboost-mme[local]'")
    run = LocalSettings().run
    try:
        address = find(run)
    except LocalError as error:
        fail(str(error))
    environment = client_environment(address, run, os.environ)
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    os.environ.update(environment)
    os.environ.pop("AWS_PROFILE", None)  # its region and its credentials are AWS's
    return address


def _make_bucket(context: Context) -> None:
    """What exists on AWS is new here."""
    from mme_hosting.aws import AwsError
    from mme_local.aws.seeds import create_bucket

    aws, bucket = context.aws, context.models.bucket
    try:
        there = aws.find("s3", "HeadBucket", f"the bucket {bucket}", Bucket=bucket) is not None
    except AwsError as error:
        if not error.denied:
            raise
        return  # whoever may not look need not make one
    if not there:
        create_bucket(aws.client("s3"), bucket, aws.region)


@contextlib.contextmanager
def reported(status: int = FAILED) -> Iterator[None]:
    """End with one line for what can be explained, and `status`; `REFUSED` if nothing was done."""
    try:
        from mme_hosting.errors import HostingError, RefusedError
        from mme_training.errors import TrainingError
    except ModuleNotFoundError:
        fail("this installation does not have mme_hosting: pip install 'xgboost-mme[aws]'")
    try:
        yield
    except (HostingError, TrainingError) as error:
        typer.echo(f"mme: {error}", err=True)
        raise typer.Exit(REFUSED if isinstance(error, RefusedError) else status) from None
    except ModuleNotFoundError as error:
        fail(f"{error.name} is not installed: pip install 'xgboost-mme[aws]'")


def print_json(content: Any) -> None:
    """Print for a program."""
    import orjson

    typer.echo(orjson.dumps(content, option=orjson.OPT_INDENT_2, default=str).decode())
