"""`mme conformance`: the contract of a multi-model container, put to an image or a URL."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mme_cli.failure import fail

if TYPE_CHECKING:
    from mme_local.conformance.models import Payload
    from mme_local.conformance.target import Target

_SIZE = re.compile(r"(\d+)([kmg]?)b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def conformance(
    image: Annotated[
        str | None, typer.Option(help="Image to start containers of", show_default=False)
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(help="Server that runs already, as http://127.0.0.1:8080", show_default=False),
    ] = None,
    models: Annotated[
        Path | None,
        typer.Option(
            help="Directory of models: unpacked, or .tar.gz; with --url unpacked, and by the same "
            "path for the server [models of house prices]",
            exists=True,
            file_okay=False,
            show_default=False,
        ),
    ] = None,
    payload: Annotated[
        Path | None,
        typer.Option(
            help="File with a request that every model answers [a house in CSV]",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    content_type: Annotated[str, typer.Option(help="Content type of the payload")] = "text/csv",
    accept: Annotated[
        str | None,
        typer.Option(help="What to accept [text/csv, with --payload */*]", show_default=False),
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Variable for every container", show_default=False),
    ] = None,
    memory: Annotated[
        str, typer.Option(help="Memory of the container that is loaded until it is full")
    ] = "1g",
    start_within: Annotated[
        float, typer.Option(min=1, help="Seconds until a container must be healthy")
    ] = 480,
    registry: Annotated[
        str | None,
        typer.Option(
            metavar="HOST/REPOSITORY:TAG",
            help="Where the image was pushed to, to see its manifest",
            show_default=False,
        ),
    ] = None,
    json: Annotated[
        Path | None,
        typer.Option(help="Write the report as JSON too", dir_okay=False, show_default=False),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CHECK", help="Only this check, or those of a module", show_default=False
        ),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Name the checks, and run none")] = False,
) -> None:
    """Check that a container keeps the contract of SageMaker's multi-model endpoints.

    It need not be of this project. The exit code is 1 if a check fails; warnings do not count.
    """
    try:
        from rich.console import Console

        from mme_local.conformance import report
        from mme_local.conformance.run import run, select
    except ModuleNotFoundError as error:
        fail(f"{error.name} is not installed: pip install 'xgboost-mme[local]'")

    console = Console()
    try:
        checks = select(only or [])
    except ValueError as error:
        fail(str(error))
    if list_:
        report.show_checks(console, checks)
        return
    if (image is None) == (url is None):
        fail("give --image or --url")
    request = _payload(payload, content_type, accept)
    results = []
    with _target(
        image, url, models, request, _environment(env), _bytes(memory), start_within, registry
    ) as target:
        for result in run(target, checks):
            report.show_result(console, result)
            results.append(result)
    report.show_summary(console, target.name, results)
    if json:
        try:
            json.write_bytes(report.as_json(target.name, results))
        except OSError as error:
            fail(f"{json}: {error.strerror}")
    if report.failed(results):
        raise typer.Exit(1)


def _target(
    image: str | None,
    url: str | None,
    models: Path | None,
    payload: Payload,
    environment: dict[str, str],
    memory: int,
    start_within: float,
    registry: str | None,
) -> Target:
    from docker.errors import DockerException, ImageNotFound

    from mme_local.conformance.models import ModelsError, find
    from mme_local.conformance.target import ImageTarget, UrlTarget
    from mme_training.archives.pack import ArchiveError

    try:
        given = find(models.resolve()) if models else []
        if url:
            archives = [each.name for each in given if not each.is_dir()]
            if archives:
                fail(f"{archives[0]} has to be unpacked where the server at {url} can read it")
            return UrlTarget(url, given, payload)
        return ImageTarget(
            image or "",
            given,
            payload,
            environment=environment,
            memory=memory,
            start_within=start_within,
            registry=registry,
        )
    except ImageNotFound:
        fail(f"the Docker engine has no image {image}: pull or build it")
    except DockerException as error:
        fail(f"a Docker engine is needed for --image: {error}")
    except (ModelsError, ArchiveError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}")


def _payload(file: Path | None, content_type: str, accept: str | None) -> Payload:
    from mme_local.conformance.models import HOUSE, Payload

    body = file.read_bytes() if file else HOUSE
    return Payload(body, content_type, accept or ("*/*" if file else "text/csv"))


def _environment(words: list[str] | None) -> dict[str, str]:
    pairs = [word.partition("=") for word in words or []]
    for name, sign, _ in pairs:
        if not sign or not name:
            fail(f"--env {name}: it has to be NAME=VALUE")
    return {name: value for name, _, value in pairs}


def _bytes(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if not match:
        fail(f"--memory {text}: it has to be bytes, or a number with k, m or g")
    return int(match[1]) * _UNITS[match[2].lower()]
