from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest

from mme_training.errors import AlgorithmError, UserError
from mme_training.many.local import LocalEngine
from mme_training.many.segments import arrange
from mme_training.many.table import open_table
from mme_training.many.work import Plan, Record, Segment
from support.many import HYPERPARAMETERS, LABEL, SEED, Kills, houses, write


def work(directory: Path, segments: int) -> tuple[Plan, list[Segment]]:
    frame = houses([f"City{number}" for number in range(segments)], 40)
    table = open_table(write(frame, directory), "city", LABEL)
    plan = Plan(LABEL, table.features, HYPERPARAMETERS, directory / "out", SEED)
    return plan, arrange(table, directory)


def run(
    engine: LocalEngine,
    plan: Plan,
    segments: list[Segment],
    on_done: Callable[[Record], Any] = lambda record: None,
) -> list[Record]:
    records: list[Record] = []

    def done(record: Record) -> None:
        records.append(record)
        on_done(record)

    prints = {segment.name: f"print-{segment.name}" for segment in segments}
    engine.run(plan, segments, prints, done)
    return sorted(records, key=lambda record: record.segment)


def workers() -> list[psutil.Process]:
    return [
        process
        for process in psutil.Process().children()
        if "mme_training.many.worker" in process.cmdline()
    ]


def test_every_segment_gets_its_record(tmp_path: Path):
    plan, segments = work(tmp_path, 5)

    records = run(LocalEngine(2), plan, segments)

    assert [record.segment for record in records] == [segment.name for segment in segments]
    for record in records:
        assert record.error is None
        assert record.attempts == 1
        assert record.fingerprint == f"print-{record.segment}"
        assert record.path is not None
        assert (plan.out / record.path).is_file()
    assert workers() == []


def test_a_segment_that_kills_processes_costs_no_other(tmp_path: Path):
    plan, segments = work(tmp_path, 5)
    segments[2] = replace(segments[2], key=Kills())  # type: ignore[arg-type]

    records = run(LocalEngine(2, retries=1), plan, segments)

    assert [record.attempts for record in records] == [1, 1, 2, 1, 1]
    assert [record.error for record in records] == [
        None,
        None,
        "the process that trained it ended with status 9, 2 times",
        None,
        None,
    ]


def test_what_a_killed_process_trained_is_trained_again(tmp_path: Path):
    plan, segments = work(tmp_path, 8)
    killed: list[int] = []

    def kill_all(_: Record) -> None:
        if not killed:
            for process in workers():
                process.kill()
                killed.append(process.pid)

    records = run(LocalEngine(2), plan, segments, kill_all)

    assert len(killed) == 2
    assert [record.error for record in records] == [None] * 8
    assert max(record.attempts for record in records) == 2


def test_processes_that_cannot_begin_end_the_run(tmp_path: Path):
    plan, segments = work(tmp_path, 2)
    broken = replace(plan, label=Kills())  # type: ignore[arg-type]

    with pytest.raises(AlgorithmError, match="the last ended with status 9"):
        run(LocalEngine(2), broken, segments)
    assert workers() == []


def test_an_exception_of_the_callback_leaves_no_process(tmp_path: Path):
    plan, segments = work(tmp_path, 4)

    def stop(_: Record) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(LocalEngine(2), plan, segments, stop)
    assert workers() == []


def test_no_segments_need_no_processes(tmp_path: Path):
    assert run(LocalEngine(), Plan("y", ("x",), {}, tmp_path), []) == []


@pytest.mark.parametrize("arguments", [(0, 2), (1, -1)])
def test_impossible_numbers_are_refused(arguments: tuple[int, int]):
    with pytest.raises(UserError, match="1 worker or more"):
        LocalEngine(*arguments)


def test_segments_of_one_class_are_not_warned_of(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    plan, segments = work(tmp_path, 2)
    given = {"objective": "binary:logistic", "num_round": 2, "eval_metric": ["auc", "aucpr"]}
    rows = segments[0].file
    with pa.ipc.open_file(str(rows)) as reader:
        table = reader.read_all()
    ones = pa.array([1.0] * len(table))
    place = table.schema.get_field_index(LABEL)
    with pa.ipc.new_file(
        str(rows), (table := table.set_column(place, LABEL, ones)).schema
    ) as writer:
        writer.write_table(table)

    records = run(LocalEngine(1), replace(plan, hyperparameters=given), segments)

    assert [record.error for record in records] == [None, None]
    assert all(math.isnan(record.metrics["test-auc"]) for record in records)
    assert capfd.readouterr() == ("", "")
