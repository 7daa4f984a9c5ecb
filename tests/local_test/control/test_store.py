"""Tables of the store; `test_plane` restarts with all of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mme_local.control.records import Resource, TrainingJob
from mme_local.control.store import Store


def test_a_file_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Store(tmp_path).models
    table.put("houses", Resource("houses", "arn", {"A": 1}, 5.0))

    def fail(_file: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        table.put("houses", Resource("houses", "arn", {"A": 2}, 5.0))
    again = Store(tmp_path)
    again.load()
    kept = again.models.get("houses")
    assert kept == Resource("houses", "arn", {"A": 1}, 5.0)


def test_times_of_either_kind_are_kept_as_seconds(tmp_path: Path) -> None:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    job = TrainingJob("chicago", "arn", {}, metrics=[{"Timestamp": moment}])
    Store(tmp_path).jobs.put("chicago", job)
    again = Store(tmp_path)
    again.load()
    kept = again.jobs.get("chicago")
    assert kept is not None
    assert kept.metrics == [{"Timestamp": moment.timestamp()}]
    assert not kept.ended_event.is_set()


def test_a_job_that_had_ended_has_ended(tmp_path: Path) -> None:
    Store(tmp_path).jobs.put("chicago", TrainingJob("chicago", "arn", {}, ended=5.0))
    again = Store(tmp_path)
    again.load()
    kept = again.jobs.get("chicago")
    assert kept is not None
    assert kept.ended_event.is_set()


def test_what_is_removed_is_gone_and_may_be_gone_already(tmp_path: Path) -> None:
    table = Store(tmp_path).models
    table.put("houses", Resource("houses", "arn", {}))
    for _ in range(2):
        table.remove("houses")
    assert list(tmp_path.rglob("*.json")) == []
    assert list(table) == []


def test_a_directory_that_is_not_there_is_empty(tmp_path: Path) -> None:
    store = Store(tmp_path / "none")
    store.load()
    assert list(store.models) == []
