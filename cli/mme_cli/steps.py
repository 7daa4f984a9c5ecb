"""What mme deploy and mme delete share: a plan on the terminal, and what goes on."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from mme_cli.hosting import FAILED, REFUSED, print_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

    from mme_hosting.deploy.apply import Run
    from mme_hosting.deploy.steps import Step

INTERRUPTED = 130
_OFTEN = 30.0  # seconds between two lines in a log
_COLOURS = {"+": "green", "~": "yellow", "-": "red"}


class Shown:
    """Progress on stderr: a live line on a terminal, a line for each status elsewhere."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False, markup=False)
        self._live: Status | None = None
        self._last = ("", 0.0)

    def say(self, text: str) -> None:
        """Print a line."""
        self.end()
        self._console.print(text, soft_wrap=True)

    def wait(self, status: str, seconds: float) -> None:
        """Show an endpoint's status, and for how long it has been waited."""
        if self._console.is_terminal:
            self._live = self._live or self._console.status("")
            self._live.start()
            self._live.update(f"{status} ... {seconds:.0f} s")
        elif status != self._last[0] or seconds >= self._last[1] + _OFTEN:
            self._console.print(f"{status} ... {seconds:.0f} s")
            self._last = status, seconds

    def end(self) -> None:
        """Take the live line away."""
        if self._live:
            self._live.stop()
        self._live, self._last = None, ("", 0.0)


def console(to_stderr: bool = False) -> Console:
    """Of which nothing is cut or wrapped when it is read by a program."""
    from rich.console import Console

    return Console(stderr=to_stderr, highlight=False, markup=False, soft_wrap=True)


def show(out: Console, steps: Iterable[Step]) -> None:
    """Print what is done, field by field."""
    for step in steps:
        out.print(f"  {step.sign} {step.resource}", style=_COLOURS[step.sign])
        width = max((len(change.setting) for change in step.changes), default=0)
        for change in step.changes:
            old, new = _text(change.old), _text(change.new)
            if step.sign == "~":
                sign = "+" if change.old is None else "-" if change.new is None else "~"
                value = new if change.old is None else f"{old} -> {new or '(none)'}"
                out.print(f"      {sign} {change.setting:<{width}}  {value}", style=_COLOURS[sign])
            else:
                out.print(f"      {change.setting:<{width}}  {new or old}")


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def confirm(question: str) -> None:
    """Ask on a terminal, and end with status 2 unless the answer is yes."""
    try:
        agreed = typer.confirm(question, default=False, err=True)
    except typer.Abort:  # Ctrl-C or Ctrl-D
        typer.echo(err=True)
        agreed = False
    if not agreed:
        typer.echo("mme: nothing was done", err=True)
        raise typer.Exit(REFUSED)


def is_asked() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty() and sys.stderr.isatty()


@dataclass
class Outcome:
    """What a program is told with --json, at any end.

    Args:
        said: of the command itself.
        steps: of the plan.
        run: has what was done of them; None: nothing.
    """

    said: dict[str, Any]
    steps: tuple[Step, ...] = ()
    run: Run | None = None

    @property
    def done(self) -> list[Step]:
        """The steps that were carried out."""
        return self.run.done if self.run else []

    def content(self) -> dict[str, Any]:
        """For `print_json`."""
        listed = [
            {
                "action": {"+": "create", "~": "change", "-": "delete"}[step.sign],
                "operation": step.operation,
                "resource": step.resource,
                "changes": {c.setting: {"old": c.old, "new": c.new} for c in step.changes},
                "done": step in self.done,
            }
            for step in self.steps
        ]
        return {"changed": bool(self.done), **self.said, "steps": listed}


@contextlib.contextmanager
def reporting(command: str, outcome: Outcome, shown: Shown, as_json: bool) -> Iterator[None]:
    """End with what has failed and how to go on.

    Args:
        command: which takes up what was begun.
        outcome: printed at the end, if `as_json`.
        shown: whose live line ends.
        as_json: whether a program reads it.
    """
    from mme_hosting.deploy.apply import DeploymentError
    from mme_hosting.errors import HostingError
    from mme_training.errors import TrainingError

    try:
        yield
    except KeyboardInterrupt:
        shown.end()
        text = f"interrupted: what SageMaker has begun goes on; {command} takes it up again"
        outcome.said["failure"] = text
        typer.echo(f"mme: {text}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except (HostingError, TrainingError) as error:
        shown.end()
        _failed(error, outcome)
        begun = bool(outcome.done) or isinstance(error, DeploymentError)
        raise typer.Exit(FAILED if begun else REFUSED) from None
    finally:
        shown.end()
        if as_json:
            print_json(outcome.content())


def _failed(error: Exception, outcome: Outcome) -> None:
    outcome.said["failure"] = str(error)
    typer.echo(f"mme: {error}", err=True)
    if log := getattr(error, "log", ()):
        outcome.said["log"] = list(log)
        typer.echo("the last lines of its log (more: mme logs):", err=True)
        for line in log:
            typer.echo(f"    {line}", err=True)
