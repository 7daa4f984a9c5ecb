from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mme_training.archives.pack import unpack
from mme_training.errors import UserError
from mme_training.many.local import LocalEngine
from mme_training.many.ray_engine import RayEngine
from mme_training.many.work import Plan, Record, Segment
from support.many import Kills, houses, run, write

ray = pytest.importorskip("ray")

pytestmark = [
    pytest.mark.slow,
    # Ray leaves the handles of its own processes to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture
def options() -> Iterator[dict[str, Any]]:
    """What makes a small Ray, below a path short enough for its sockets."""
    directory = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    yield {
        "num_cpus": 2,
        "include_dashboard": False,
        "object_store_memory": 80 << 20,
        "configure_logging": False,
        "_temp_dir": directory,
    }
    ray.shutdown()
    shutil.rmtree(directory, ignore_errors=True)


class Kill:
    """An engine that gives another one a segment that kills the process it comes to."""

    def __init__(self, engine: RayEngine, name: str) -> None:
        self.engine = engine
        self.name = name

    def run(self, plan: Plan, segments: list[Segment], *rest: Any) -> None:
        changed = [
            replace(segment, key=Kills()) if segment.name == self.name else segment  # type: ignore[arg-type]
            for segment in segments
        ]
        self.engine.run(plan, changed, *rest)


def test_the_models_are_those_of_the_local_engine(tmp_path: Path, options: dict[str, Any]):
    table = write(houses(), tmp_path)
    code = tmp_path / "inference.py"
    code.write_text("pass")
    extra = {"code/inference.py": code}

    there = run(table, tmp_path / "ray", RayEngine(**options), extra=extra)

    assert not ray.is_initialized()
    here = run(table, tmp_path / "local", LocalEngine(1), extra=extra)
    assert [plain(record) for record in there] == [plain(record) for record in here]
    for record in there:
        assert record.path is not None
        unpack(tmp_path / "ray" / record.path, tmp_path / record.segment)
        assert (tmp_path / record.segment / "code/inference.py").read_text() == "pass"
    for name in ("predictions.parquet", "archives/Dallas.tar.gz"):
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
    assert run(table, tmp_path / "ray", RayEngine(), extra=extra) == there


def plain(record: Record) -> Record:
    return replace(record, seconds=0.0)


def test_lost_processes_and_bad_rows_cost_no_other_segment(tmp_path: Path, options: dict[str, Any]):
    # Tests are unpickled by Ray's processes, which do not have pytest's paths.
    ray.init(
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": str(Path(__file__).parents[2])}},
        **options,
    )
    frame = houses(["Austin", "Boston", "Chicago"])
    frame = frame[(frame["city"] != "Austin") | (frame.groupby("city").cumcount() < 2)]

    records = run(write(frame, tmp_path), tmp_path / "out", Kill(RayEngine(retries=1), "Chicago"))

    assert [record.attempts for record in records] == [1, 1, 2]
    assert "2 rows cannot be split" in str(records[0].error)
    assert records[1].error is None
    assert "lost each time" in str(records[2].error)
    assert ray.is_initialized()


def test_impossible_numbers_are_refused():
    with pytest.raises(UserError, match="1 worker or more"):
        RayEngine(workers=0)
