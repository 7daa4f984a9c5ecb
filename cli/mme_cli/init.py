"""`mme init`: mme.yaml, with all that can be set."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mme_cli.hosting import REFUSED, Region, reported

if TYPE_CHECKING:
    from mme_hosting.aws import Aws

_INSTANCE_TYPE = "ml.m5.large"


def init(
    name: Annotated[
        str | None,
        typer.Option(help="Name of the endpoint; by default the directory's", show_default=False),
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(
            metavar="S3",
            help="Prefix of the models; by default one in the account's bucket for SageMaker",
            show_default=False,
        ),
    ] = None,
    role: Annotated[
        str | None,
        typer.Option(
            metavar="ARN",
            help="Execution role; by default AWS_SAGEMAKER_ROLE, or the only one that would do",
            show_default=False,
        ),
    ] = None,
    instance_type: Annotated[
        str | None, typer.Option(help=f"Instance type [{_INSTANCE_TYPE}]", show_default=False)
    ] = None,
    region: Region = None,
    local: Annotated[
        bool,
        typer.Option(
            "--local", help="For the local SageMaker: it needs no prefix and no role, ask for none"
        ),
    ] = False,
    file: Annotated[Path, typer.Option(help="File to write")] = Path("mme.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists")] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of the file, and stop")
    ] = False,
) -> None:
    """Write mme.yaml: every setting with what it means, and those that matter filled in.

    Beside it goes mme.schema.json, by which editors complete and check it. On a terminal and
    without options it asks. What AWS cannot be asked for stays a comment.
    """
    with reported(REFUSED):
        from mme_hosting.errors import HostingError
        from mme_hosting.settings import check
        from mme_hosting.start import template

        if schema:
            typer.echo(template.schema(), nl=False)
            return
        if file.exists() and not force:
            raise HostingError(f"{file} exists: --force replaces it")
        options = {"models": models, "role": role, "instance_type": instance_type}
        ask = not any((name, region, local, *options.values())) and sys.stdin.isatty()
        given: dict[str, Any] = {"name": name or _default_name(), "region": region, **options}
        if ask:
            given["name"] = _ask("Name of the endpoint", "name", given["name"])
        check({key: value for key, value in given.items() if value}, "mme init")
        if not local:
            _suggest(given, ask)
        if ask:
            given["instance_type"] = _ask("Instance type", "instance_type", _INSTANCE_TYPE)
        given["instance_type"] = given["instance_type"] or _INSTANCE_TYPE
        template.write(file, {key: value for key, value in given.items() if value}, force)
    typer.echo(f"{file} and {template.SCHEMA_FILE} are written; mme doctor checks what they need")


def _suggest(given: dict[str, Any], ask: bool) -> None:
    """Fill in what the account suggests, or what is answered."""
    from mme_hosting.aws import Aws
    from mme_hosting.errors import HostingError
    from mme_hosting.start import suggest

    try:
        aws = Aws(given["region"])
        prefix = suggest.prefix(aws, given["name"])
    except HostingError as error:
        typer.echo(f"note: {error}. What AWS was to be asked for stays a comment", err=True)
        return
    given["region"] = aws.region
    if ask:
        prefix = _ask("Prefix of the models", "models", prefix)
    given["models"] = given["models"] or prefix
    given["role"] = given["role"] or _role(aws, ask)


def _role(aws: Aws, ask: bool) -> str | None:
    """The execution role; None if that is not known."""
    from mme_hosting.errors import HostingError
    from mme_hosting.start import suggest

    try:
        found = suggest.roles(aws)
    except HostingError as error:
        typer.echo(f"note: {error}", err=True)
        found = []
    if ask and found:
        for number, arn in enumerate(found, 1):
            typer.echo(f"  {number}  {arn}", err=True)
        return _ask("Execution role, or its number", "role", found[0], choices=found)
    if len(found) == 1:
        return found[0]
    many = f"{len(found)} roles trust SageMaker" if found else "no role is known to trust SageMaker"
    typer.echo(
        f"note: {many}: write role: yourself. mme iam trust and execution make one", err=True
    )
    return None


def _ask(text: str, setting: str, default: str, choices: list[str] | None = None) -> str:
    """Ask until the answer is one that the setting may have."""
    from mme_hosting.errors import HostingError
    from mme_hosting.settings import check

    def checked(answer: str) -> str:
        if choices and answer.isdecimal() and 0 < int(answer) <= len(choices):
            return choices[int(answer) - 1]
        try:
            check({"name": "any", setting: answer}, "that will not do")
        except HostingError as error:
            raise typer.BadParameter(str(error)) from None
        return answer

    return str(typer.prompt(text, default=default, value_proc=checked, err=True))


def _default_name() -> str:
    """Of the directory's name, what an endpoint's may have of it."""
    words = re.findall(r"[A-Za-z0-9]+", Path.cwd().name)
    return "-".join(words)[:50].rstrip("-") or "models"
