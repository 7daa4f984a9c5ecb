"""`mme report`: many models as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mme_cli.failure import fail


def report(
    out: Annotated[
        Path, typer.Argument(help="Directory that `mme train many` wrote to", file_okay=False)
    ],
) -> None:
    """Write OUT/report.html: how good the models are, which are the worst, and what failed.

    The page is one file, for any browser, without a network.
    """
    try:
        from mme_training.errors import UserError
        from mme_training.report.page import write_report
    except ModuleNotFoundError as error:
        fail(f"{error}: pip install 'xgboost-mme[train,report]'")
    try:
        typer.echo(write_report(out))
    except (UserError, OSError) as error:
        fail(str(error))
