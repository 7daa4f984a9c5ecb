"""How a command ends that cannot do what it was told."""

from __future__ import annotations

from typing import NoReturn

import typer


def fail(message: str) -> NoReturn:
    """Say what is wrong, and end with status 2: the user can mend it."""
    typer.echo(f"mme: {message}", err=True)
    raise typer.Exit(2)
