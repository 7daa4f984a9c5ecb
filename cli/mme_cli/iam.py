"""`mme iam`: the policies that an endpoint needs, made for the one that mme.yaml describes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mme_cli.hosting import (
    REFUSED,
    Config,
    Local,
    Name,
    Region,
    open_context,
    print_json,
    reported,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mme_hosting.context import Context
    from mme_hosting.iam.document import Document

app = typer.Typer(
    help="Print the IAM policies that an endpoint needs, for its own resources alone.",
    no_args_is_help=True,
)


@app.command()
def trust(
    config: Config = None, name: Name = None, region: Region = None, local: Local = False
) -> None:
    """Print who may assume the execution role: SageMaker, for this account.

    mme iam trust > trust.json

    aws iam create-role --role-name ROLE --assume-role-policy-document file://trust.json
    """
    from mme_hosting.iam import policies

    _print(policies.trust, config, local, name, region)


@app.command()
def execution(
    config: Config = None,
    name: Name = None,
    region: Region = None,
    local: Local = False,
    training: Annotated[
        bool, typer.Option("--training", help="Also what training jobs with this role need")
    ] = False,
) -> None:
    """Print what the execution role must be allowed: to read models, to pull the image, to log.

    mme iam execution > execution.json

    aws iam put-role-policy --role-name ROLE --policy-name mme --policy-document
    file://execution.json
    """
    from mme_hosting.iam import policies

    def make(context: Context) -> Document:
        return policies.execution(context, training)

    _print(make, config, local, name, region)


@app.command()
def deployer(
    config: Config = None,
    name: Name = None,
    region: Region = None,
    local: Local = False,
    training: Annotated[
        bool, typer.Option("--training", help="Also what mme train many needs")
    ] = False,
) -> None:
    """Print what a person or a pipeline must be allowed that uses the verbs of mme.

    It is longer than a policy within a user may be: attach it as a managed policy.

    mme iam deployer > deployer.json

    aws iam create-policy --policy-name mme-NAME-deployer --policy-document file://deployer.json
    """
    from mme_hosting.iam import deployer as module

    def make(context: Context) -> Document:
        return module.deployer(context, training)

    _print(make, config, local, name, region)


@app.command()
def caller(
    config: Config = None,
    name: Name = None,
    region: Region = None,
    local: Local = False,
    models: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Only target models like this, such as 'company_a/*'; can be repeated",
            show_default=False,
        ),
    ] = None,
    aliases: Annotated[
        bool,
        typer.Option("--aliases", help="Also to look up names of models, as mme invoke does"),
    ] = False,
) -> None:
    """Print what those must be allowed who invoke the endpoint.

    mme iam caller --models 'company_a/*' > caller.json

    aws iam put-user-policy --user-name USER --policy-name mme --policy-document file://caller.json
    """
    from mme_hosting.iam import policies

    def make(context: Context) -> Document:
        return policies.caller(context, models or (), aliases)

    _print(make, config, local, name, region)


def _print(
    make: Callable[[Context], Document],
    config: Path | None,
    local: bool,
    name: str | None,
    region: str | None,
) -> None:
    with reported(REFUSED):
        content = make(open_context(config, local, name=name, region=region))
    print_json(content)
