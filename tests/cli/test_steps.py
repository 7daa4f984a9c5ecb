from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from mme_cli.steps import confirm


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("n\n", 2), ("\n", 2), ("", 2)])
def test_nothing_is_done_without_a_yes(answer: str, status: int) -> None:
    """The last is the end of the input, by Ctrl-D."""
    app = typer.Typer()

    @app.command()
    def ask() -> None:
        confirm("apply?")

    result = CliRunner().invoke(app, input=answer)
    assert result.exit_code == status
    assert ("nothing was done" in result.output) == bool(status)
