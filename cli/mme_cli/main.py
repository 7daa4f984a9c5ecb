"""`mme`: one function a command; what it does is in the package it calls."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from mme_cli import archives, iam, local, models, train
from mme_cli.conformance import conformance
from mme_cli.delete import delete
from mme_cli.deploy import deploy
from mme_cli.doctor import doctor
from mme_cli.endpoints import endpoints
from mme_cli.failure import fail
from mme_cli.fit import fit
from mme_cli.houses import houses
from mme_cli.init import init
from mme_cli.invoke import invoke
from mme_cli.logs import logs
from mme_cli.metrics import metrics
from mme_cli.push import push
from mme_cli.report import report
from mme_cli.train_many import many

app = typer.Typer(
    help="Serve thousands of XGBoost models from one SageMaker multi-model container.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
_TRAINING = "Training and archives"
_HOSTING = "Hosting on AWS, or with --local on this machine"

app.add_typer(train.app, name="train", rich_help_panel=_TRAINING)
app.add_typer(local.app, name="local")
app.add_typer(models.app, name="models", rich_help_panel=_HOSTING)
app.add_typer(iam.app, name="iam", rich_help_panel=_HOSTING)
train.app.command()(many)
_COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    _TRAINING: (houses, archives.pack, archives.inspect, archives.verify, report),
    _HOSTING: (init, doctor, push, deploy, endpoints, invoke, logs, metrics, fit, delete),
}
for panel, commands in _COMMANDS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.command()(conformance)


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
    model: Annotated[
        Path | None,
        typer.Option(
            help="Serve the one model in this directory [MME_MODEL, /opt/ml/model]",
            file_okay=False,
            exists=True,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Start multi-model-server and the processes that serve its models.

    SAGEMAKER_MULTI_MODEL decides whether models come and go by request, or the one at /opt/ml/model
    is served. Where it is not set, the latter if there is one. --models and --model decide too.
    """
    from mme_handler.mms.frontend import FrontendError
    from mme_handler.rundir import RunDirectoryError
    from mme_handler.server import StartError
    from mme_handler.server import serve as run
    from mme_handler.settings import Settings

    if models and model:
        fail("give --models or --model, not both")
    given: dict[str, Any] = {
        "port": port,
        "models": models.resolve() if models else None,
        "model": model.resolve() if model else None,
        "multi_model": False if model else True if models else None,
    }
    try:
        status = run(
            Settings(**{name: value for name, value in given.items() if value is not None})
        )
    except ValidationError as error:
        fail("; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()))
    except (FrontendError, RunDirectoryError, StartError) as error:
        fail(str(error))
    sys.exit(status)


@app.command(rich_help_panel=_TRAINING)
def convert(
    source: Annotated[Path, typer.Argument(help="Model file that today's XGBoost cannot read")],
    target: Annotated[Path, typer.Argument(help="File to write: .ubj or .json")],
    xgboost: Annotated[
        str | None,
        typer.Option(
            help="Version of XGBoost to install for it, into a temporary environment [3.0.5]",
            show_default=False,
        ),
    ] = None,
    python: Annotated[
        Path | None,
        typer.Option(
            help="Python interpreter whose XGBoost reads SOURCE; nothing is installed",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace TARGET if it exists")] = False,
) -> None:
    """Turn a model file of XGBoost's old binary format into UBJSON or JSON."""
    from mme_training.convert import DEFAULT_VERSION, ConvertError
    from mme_training.convert import convert as run

    if xgboost and python:
        fail("give --xgboost or --python, not both")
    try:
        done = run(source, target, xgboost or DEFAULT_VERSION, python, force)
    except ConvertError as error:
        fail(str(error))
    typer.echo(
        f"{target}: {done.features} features, {done.rounds} rounds, read by XGBoost {done.version}"
    )
