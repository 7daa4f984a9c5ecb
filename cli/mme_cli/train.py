"""`mme train`: a SageMaker training job, and many models at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def train(
    context: typer.Context,
    root: Annotated[
        Path,
        typer.Option(
            help="Where the job is laid out: input/config, input/data, model, output",
            envvar="SAGEMAKER_BASE_DIR",
            file_okay=False,
        ),
    ] = Path("/opt/ml"),
) -> None:
    """Run the SageMaker training job laid out at /opt/ml, as the container does.

    The exit status is 0 when the model is saved; else the reason is in output/failure.
    """
    if context.invoked_subcommand is not None:
        return
    from mme_training.container.entry import train as run

    sys.exit(run(root.absolute()))
