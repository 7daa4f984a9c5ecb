"""`mme invoke`: one request to a target model, or the line for a shell that makes it."""

from __future__ import annotations

import base64
import os
import sys
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
    Name,
    Region,
    open_context,
    print_json,
    reported,
)

if TYPE_CHECKING:
    from mme_hosting.context import Context
    from mme_hosting.invoke.call import Answer
    from mme_hosting.invoke.request import Request

_TEXT = ("text/", "application/json")  # application/jsonlines too


def invoke(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="Name of a model, or an archive's key that ends in .tar.gz"
        ),
    ],
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="The body; - is standard input", show_default=False),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", "-d", help="The body, as text", show_default=False)
    ] = None,
    content_type: Annotated[
        str | None,
        typer.Option(help="Of the body [by the file's suffix, or text/csv]", show_default=False),
    ] = None,
    accept: Annotated[
        str | None,
        typer.Option(help="Of the answer [the model's own]", show_default=False),
    ] = None,
    attributes: Annotated[
        str | None,
        typer.Option(help="Custom attributes, as output=margin;a=b", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the answer to a file", show_default=False),
    ] = None,
    curl: Annotated[
        bool, typer.Option("--curl", help="Print a line of curl instead of asking")
    ] = False,
    aws: Annotated[
        bool, typer.Option("--aws", help="Print a line of the AWS CLI instead of asking")
    ] = False,
    config: Config = None,
    local: Local = False,
    region: Region = None,
    name: Name = None,
    as_json: Json = False,
) -> None:
    """Ask a target model, and print its answer as it is.

    On stderr: how long it took, the production variant, and whether the model was loaded already
    (cache hit), as the container tells. A model that is still being loaded is waited for.
    """
    if (file is None) == (data is None):
        fail("give the body: --file, --file - or --data")
    if curl and aws:
        fail("give --curl or --aws, not both")
    if output and not output.absolute().parent.is_dir():
        fail(f"{output.absolute().parent} is no directory: the answer could not be written")
    with reported(REFUSED):
        from mme_hosting.invoke import lines
        from mme_hosting.invoke.request import Request, content_type_of
        from mme_hosting.models.aliases import resolve

        context = open_context(config, local, name=name, region=region)
        request = Request(
            target=resolve(context, model),
            content_type=content_type or content_type_of(file),
            accept=accept,
            attributes=attributes,
            file=file,
            data=data or "",
        )
        if curl or aws:
            make = lines.curl if curl else lines.aws_cli
            line = make(context, request, local, str(output) if output else None)
            typer.echo(os.fsencode(line))  # the shell's bytes, also if they are no UTF-8
            if not (local or os.environ.get("AWS_ACCESS_KEY_ID")):
                _note('its credentials: eval "$(aws configure export-credentials --format env)"')
            return
        body = request.body(sys.stdin.buffer)
    answer = _ask(context, request, body)
    _show(answer, request, output, as_json)


def _ask(context: Context, request: Request, body: bytes) -> Answer:
    from mme_hosting.invoke.call import invoke as run

    with reported(FAILED):
        return run(context, request, body, _note)


def _show(answer: Answer, request: Request, output: Path | None, as_json: bool) -> None:
    _note(_summary(answer))
    if output:
        try:
            output.write_bytes(answer.body)
        except OSError as error:
            typer.echo(f"mme: {output} cannot be written: {error.strerror}", err=True)
            raise typer.Exit(FAILED) from None
    if as_json:
        print_json(_as_json(answer, request, output))
    elif not output:
        _print_body(answer)


def _summary(answer: Answer) -> str:
    cache = {True: "hit", False: "miss", None: "unknown"}[answer.cache_hit]
    return (
        f"{answer.latency_ms:,.1f} ms, variant {answer.variant}, cache: {cache}, "
        f"request {answer.request_id}"
    )


def _print_body(answer: Answer) -> None:
    body, terminal = answer.body, sys.stdout.isatty()
    text = _text(answer)
    if terminal and text is None:
        _note(f"{len(body):,} bytes of {answer.content_type}: not for a terminal, give --output")
        return
    typer.echo(body, nl=terminal and not body.endswith(b"\n"))


def _text(answer: Answer) -> str | None:
    """The body as text, if it is text."""
    if not answer.content_type.startswith(_TEXT):
        return None
    try:
        return answer.body.decode()
    except UnicodeDecodeError:
        return None


def _as_json(answer: Answer, request: Request, output: Path | None) -> dict[str, Any]:
    text = _text(answer)
    body = {
        "body": base64.b64encode(answer.body).decode() if text is None else text,
        "encoding": "base64" if text is None else "text",
    }
    return {
        **({"output": str(output)} if output else body),
        "content_type": answer.content_type,
        "target_model": request.target,
        "variant": answer.variant,
        "latency_ms": round(answer.latency_ms, 3),
        "cache_hit": answer.cache_hit,
        "custom_attributes": answer.attributes,
        "request_id": answer.request_id,
    }


def _note(text: str) -> None:
    typer.echo(text, err=True)
