from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from mme_training.many.sagemaker_jobs import Note, Progress
from mme_training.many.sagemaker_table import SHOWN_ENDED, JobTable


def console(terminal: bool) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=terminal, width=140, color_system=None), out


def test_lines_where_there_is_no_terminal() -> None:
    shown, out = console(terminal=False)
    with JobTable(2, shown) as table:
        table(Note("2 jobs of [an] earlier run"))
        table(Progress("a", "mme-a-1", "Starting"))
        table(Progress("a", "mme-a-1", "Training"))
        table(Progress("a", "mme-a-1", "Training"))
        table(Progress("a", "mme-a-1", "Completed", seconds=61, metrics={"validation-rmse": 0.5}))
        table(Progress("b", "mme-b-1", "Failed", seconds=3, reason="AlgorithmError: [no] rows"))

    assert out.getvalue().splitlines() == [
        "2 jobs of [an] earlier run",
        "a: starting, job mme-a-1",
        "a: training, job mme-a-1",
        "a: completed, 61 s, validation-rmse 0.5, job mme-a-1",
        "b: failed, 3 s, AlgorithmError: [no] rows, job mme-b-1",
    ]


def test_the_table_shows_what_is_under_way_and_what_ended() -> None:
    shown, out = console(terminal=True)
    since = datetime.now(UTC) - timedelta(hours=2)
    with JobTable(1000, shown) as table:
        table(Progress("a", "mme-a-1", "Training", since))
        table(Progress("b", "mme-b-1", "Completed", seconds=61, metrics={"validation-rmse": 0.5}))
        table(Progress("c", "mme-c-1", "Failed", reason="[no] rows"))
        table(Note("the quota"))

    last = out.getvalue().rpartition("1000 segments: ")[2]
    assert last.startswith("1 under way, 1 completed, 1 failed")
    assert "72" in next(line for line in last.splitlines() if "mme-a-1" in line)
    assert "validation-rmse 0.5" in last
    assert "[no] rows" in last
    assert "the quota" in last


@pytest.mark.parametrize("count", [3, 300])
def test_the_table_stays_short(count: int) -> None:
    shown, out = console(terminal=True)
    with JobTable(count, shown) as table:
        for i in range(count):
            table(Progress(f"s{i}", f"mme-s{i}-1", "Completed"))

    last = out.getvalue().rpartition("segments: ")[2]
    assert last.count("mme-s") == min(count, SHOWN_ENDED)
    assert f"{count} completed" in last
