"""`mme logs`: what an endpoint's containers have written."""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mme_cli.hosting import FAILED, REFUSED, Config, Local, Name, Region, open_context, reported

if TYPE_CHECKING:
    from mme_hosting.logs import Line, Log, Wanted

_INTERRUPTED = 130  # as a shell has it
_COLOURS = {
    "critical": typer.colors.RED,
    "fatal": typer.colors.RED,
    "error": typer.colors.RED,
    "warning": typer.colors.YELLOW,
    "warn": typer.colors.YELLOW,
    "info": typer.colors.GREEN,
}
_SHOWN_APART = ("component", "event", "exception", "level", "model", "target_model", "timestamp")
_DIGITS = 8  # of a model's id


def logs(
    since: Annotated[str, typer.Option(help="How far back: 30s, 10m, 2h, 7d")] = "10m",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait for more, until Ctrl-C")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(help="Only of this model: its name, or its archive's key", show_default=False),
    ] = None,
    errors: Annotated[
        bool, typer.Option("--errors", help="Only warnings and errors, refused requests too")
    ] = False,
    instance: Annotated[
        str | None, typer.Option(metavar="ID", help="Only of this instance", show_default=False)
    ] = None,
    lines: Annotated[
        int | None,
        typer.Option("--lines", "-n", min=1, help="Only the last so many", show_default=False),
    ] = None,
    config: Config = None,
    local: Local = False,
    region: Region = None,
    name: Name = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each line")
    ] = False,
) -> None:
    """Show what the endpoint's containers have written, from CloudWatch Logs.

    Times are UTC. The exit status is 0, also if nothing was written yet, 2 if there is no such
    endpoint, and 130 after Ctrl-C.
    """
    with _ended_by_reader(), reported(REFUSED):
        from mme_hosting.logs import Log, Wanted, seconds
        from mme_hosting.models.aliases import resolve

        back = seconds(since)
        context = open_context(config, local, name=name, region=region)
        wanted = Wanted(resolve(context, model) if model else None, errors)
        log = Log(context, back, instance)
        found = log.read()
    printer = _Printer(wanted, as_json)
    with _ended_by_reader(), reported(FAILED):
        shown = printer.choose(found)
        printer.print(shown[-lines:] if lines else shown)
        if not shown:
            _say_nothing(log, since, len(found), follow)
        if follow:
            _follow(log, printer)


def _follow(log: Log, printer: _Printer) -> None:
    from mme_hosting.logs import POLL_SECONDS

    while True:
        _wait(POLL_SECONDS)
        printer.print(printer.choose(log.read()))


def _wait(seconds: float) -> None:
    """Wait, but not for lines that nobody would read."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # the end alone
    if poll.poll(seconds * 1e3):
        raise BrokenPipeError


@contextlib.contextmanager
def _ended_by_reader() -> Iterator[None]:
    """End quietly when whoever reads has enough."""
    try:
        yield
        sys.stdout.flush()
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit from None


def _say_nothing(log: Log, since: str, found: int, follow: bool) -> None:
    if not log.exists:
        text = "the endpoint's containers have not written anything yet"
    elif found:
        text = f"none of the {found:,} lines of the last {since} is among those asked for"
    else:
        text = f"nothing was written in the last {since}: --since looks further back"
    typer.echo(text + (", waiting" if follow else ""), err=True)


class _Printer:
    """Chooses lines and shows them; learns the names of models as they come."""

    def __init__(self, wanted: Wanted, as_json: bool) -> None:
        self._wanted = wanted
        self._as_json = as_json
        self._models: dict[str, str] = {}  # by id
        self._streams: set[str] = set()
        self._colour = None if "NO_COLOR" not in os.environ else False

    def choose(self, found: list[Line]) -> list[Line]:
        """The wanted ones; all of them are looked at for models' names first."""
        for line in found:
            self._wanted.learn(line)
            self._streams.add(line.stream)
            fields = line.fields or {}
            if "model" in fields and "target_model" in fields:
                self._models[str(fields["model"])] = str(fields["target_model"])
        return [line for line in found if self._wanted(line)]

    def print(self, lines: list[Line]) -> None:
        """Show lines: a line of JSON, or text for people."""
        for line in lines:
            text = json.dumps(_as_json(line)) if self._as_json else self._text(line)
            typer.echo(text, color=self._colour)
        sys.stdout.flush()

    def _text(self, line: Line) -> str:
        from mme_hosting.logs import clean

        head = [line.at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{line.at.microsecond // 1000:03}Z"]
        if len(self._streams) > 1:
            head.append(clean(line.stream.rpartition("/")[2]))
        if line.fields is None:
            return " ".join([*head, typer.style(clean(line.text), fg=_COLOURS.get(line.level))])
        level = clean(line.level.upper()[:7])
        head.append(typer.style(f"{level:7}", fg=_COLOURS.get(line.level)))
        if model := self._model(line.fields):
            head.append(typer.style(clean(model), bold=True))
        head.append(clean(str(line.fields["event"])))
        head += [clean(f"{name}={_value(value)}") for name, value in _rest(line.fields)]
        trace = str(line.fields.get("exception") or "").rstrip()
        return "\n    ".join([" ".join(head), *map(clean, trace.splitlines())])

    def _model(self, fields: Any) -> str:
        """The target model; its id where no line has said yet what that is."""
        known = str(fields.get("model", ""))
        return str(fields.get("target_model") or self._models.get(known, known[:_DIGITS]))


def _rest(fields: Any) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in fields.items() if name not in _SHOWN_APART)


def _value(value: Any) -> str:
    """As it is if that is one word, else in quotes."""
    text = value if isinstance(value, str) else json.dumps(value)
    plain = isinstance(value, str) and (not text or any(each in text for each in ' "=\n'))
    return json.dumps(text, ensure_ascii=False) if plain else text


def _as_json(line: Line) -> dict[str, Any]:
    return {
        "time": line.at.isoformat(timespec="milliseconds"),
        "stream": line.stream,
        "level": line.level,
        **({"message": line.text} if line.fields is None else {"fields": line.fields}),
    }
