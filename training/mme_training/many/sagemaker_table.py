"""What `--wait` shows: a live table of the jobs, or lines where there is no terminal."""

from __future__ import annotations

from collections import Counter, deque
from datetime import UTC, datetime
from types import TracebackType
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mme_training.many.sagemaker_jobs import Event, Note, Progress

SHOWN_ENDED: Final = 10
SHOWN_NOTES: Final = 3

_STYLES: Final = {"Completed": "green", "Failed": "red", "Stopped": "red", "Deleted": "red"}


class JobTable:
    """A context manager that is called with each event.

    On a terminal: the jobs under way, the last ones that ended, and how many did. Elsewhere: one
    line for a job that starts, changes its status or ends.
    """

    def __init__(self, total: int, console: Console | None = None) -> None:
        self._total = total
        self._console = console or Console(stderr=True)
        self._jobs: dict[str, Progress] = {}
        self._ended: deque[Progress] = deque(maxlen=SHOWN_ENDED)
        self._counts: Counter[str] = Counter()
        self._notes: deque[str] = deque(maxlen=SHOWN_NOTES)
        self._live = (
            Live(self, console=self._console, refresh_per_second=2)
            if self._console.is_terminal
            else None
        )

    def __enter__(self) -> JobTable:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, event: Event) -> None:
        """Show `event`."""
        if isinstance(event, Note):
            self._notes.append(event.text)
            self._line(event.text)
            return
        before = self._jobs.get(event.job)
        if event.status in _STYLES:
            self._jobs.pop(event.job, None)
            self._ended.append(event)
            self._counts[event.status] += 1
        else:
            self._jobs[event.job] = event
        if not before or before.status != event.status:
            self._line(_sentence(event))

    def __rich__(self) -> Group:
        """The table as it is now."""
        table = Table("segment", "job", "status", "seconds", "metrics", box=None, pad_edge=False)
        for job in (*self._ended, *self._jobs.values()):
            table.add_row(
                escape(job.segment),
                job.job,
                Text(job.status, style=_STYLES.get(job.status, "")),
                f"{_seconds(job):.0f}",
                escape(job.reason) if job.reason else _metrics(job),
            )
        counts = {"under way": len(self._jobs), **{k.lower(): n for k, n in self._counts.items()}}
        line = ", ".join(f"{number} {what}" for what, number in counts.items())
        return Group(Text(f"{self._total} segments: {line}"), table, *map(Text, self._notes))

    def _line(self, text: str) -> None:
        if not self._live:
            self._console.print(Text(text), soft_wrap=True)


def _sentence(job: Progress) -> str:
    words = [f"{job.segment}: {job.status.lower()}"]
    if job.status in _STYLES:
        words.append(f"{job.seconds:.0f} s")
    return ", ".join(filter(None, [*words, job.reason or _metrics(job), f"job {job.job}"]))


def _metrics(job: Progress) -> str:
    return " ".join(f"{name} {value:.6g}" for name, value in job.metrics.items())


def _seconds(job: Progress) -> float:
    return (datetime.now(UTC) - job.since).total_seconds() if job.since else job.seconds
