"""`mme`: one function a command; what it does is in the package it calls."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError

app = typer.Typer(
    help="Serve thousands of XGBoost models from one SageMaker multi-model container.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def main() -> None:
    """Serve thousands of XGBoost models from one SageMaker multi-model container."""


@app.command()
def serve(
    port: Annotated[
        int | None,
        typer.Option(help="Port to serve on [SAGEMAKER_BIND_TO_PORT, 8080]", show_default=False),
    ] = None,
    models: Annotated[
        Path | None,
        typer.Option(
            help="Load only models below this directory [MME_MODELS, any]",
            file_okay=False,
            exists=True,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Start multi-model-server and the processes that serve its models."""
    from mme_handler.mms.frontend import FrontendError
    from mme_handler.rundir import RunDirectoryError
    from mme_handler.server import StartError
    from mme_handler.server import serve as run
    from mme_handler.settings import Settings

    given: dict[str, Any] = {"port": port, "models": models.resolve() if models else None}
    try:
        status = run(
            Settings(**{name: value for name, value in given.items() if value is not None})
        )
    except ValidationError as error:
        _fail("; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()))
    except (FrontendError, RunDirectoryError, StartError) as error:
        _fail(str(error))
    sys.exit(status)


def _fail(message: str) -> NoReturn:
    typer.echo(f"mme: {message}", err=True)
    raise typer.Exit(2)
