"""Admission by processes and threads, with the files of a control group."""

from __future__ import annotations

from pathlib import Path

import pytest

from mme_handler.errors import OutOfMemoryError
from mme_handler.workers.task_limit import TaskLimit

BASE = 40


class Group:
    """A control group of version 1 or 2, as a container sees it."""

    def __init__(self, root: Path, limit: str, v2: bool = False) -> None:
        self.root, self.proc = root / "cgroup", root / "proc"
        self.directory = self.root if v2 else self.root / "pids"
        self.directory.mkdir(parents=True)
        self.proc.mkdir()
        (self.proc / "cgroup").write_text("0::/\n" if v2 else "8:pids:/docker/1f\n0::/docker/1f\n")
        (self.directory / "pids.max").write_text(f"{limit}\n")
        self.use(BASE)

    def use(self, tasks: int) -> None:
        (self.directory / "pids.current").write_text(f"{tasks}\n")

    def make(self) -> TaskLimit:
        return TaskLimit(2, self.root, self.proc)


def fill(group: Group, limit: TaskLimit, workers: int = 1, idle: int = 0) -> int:
    """How many models fit, each with its launcher and threads, until one is refused."""
    for models in range(10_000):
        group.use(BASE + 4 * workers * (models + 1) + idle)
        try:
            limit.check(models, workers)
        except OutOfMemoryError:
            return models
    raise AssertionError("no end")


@pytest.mark.parametrize("v2", [False, True])
def test_as_many_models_as_leave_room_for_the_next(tmp_path, v2):
    group = Group(tmp_path, "1000", v2)
    limit = group.make()
    assert limit.limit == 1000
    models = fill(group, limit)
    assert 150 < models < (1000 - BASE) / 4 - 10
    with pytest.raises(OutOfMemoryError, match=r"of at most 1,000 processes and threads"):
        limit.check(models, 1)


def test_idle_threads_do_not_keep_a_model_from_the_place_of_another(tmp_path):
    group = Group(tmp_path, "1000")
    limit = group.make()
    models = fill(group, limit)
    group.use(BASE + 4 * (models + 1))  # one has gone, and MMS still has its threads
    limit.check(models - 1, 1)


def test_each_worker_counts(tmp_path):
    group = Group(tmp_path, "1000")
    assert fill(group, group.make(), workers=2) == pytest.approx(fill(group, group.make()) / 2, 0.1)


def test_what_nobody_counts_is_seen(tmp_path):
    group = Group(tmp_path, "1000")
    limit = group.make()
    limit.check(0, 1)
    group.use(990)  # a model's code with many threads
    with pytest.raises(OutOfMemoryError, match="990 of at most 1,000"):
        limit.check(1, 1)


@pytest.mark.parametrize("text", ["max", "9223372036854775807"])
def test_without_a_limit_there_is_none(tmp_path, text):
    group = Group(tmp_path, text)
    limit = group.make()
    group.use(1_000_000)
    limit.check(0, 1)


def test_without_control_groups(tmp_path):
    TaskLimit(2, tmp_path, tmp_path).check(10_000, 1)
