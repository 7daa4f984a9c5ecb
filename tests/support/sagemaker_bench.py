"""Segments, the SageMaker engine on them, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from mme_training.houses import FEATURES, LABEL, make_houses
from mme_training.many.sagemaker import SageMakerEngine
from mme_training.many.sagemaker_jobs import Event, Note, Progress, job_name
from mme_training.many.sagemaker_options import SageMakerOptions
from mme_training.many.work import Plan, Record, Segment
from support.aws import ROLE

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/xgboost-mme:3.1.2-py312"
ROWS = 20


class Bench:
    """Segments on disk, an engine, and what it says."""

    def __init__(self, directory: Path) -> None:
        self.plan = Plan(LABEL, FEATURES, {"num_round": 5, "eval_metric": ["rmse"]}, directory)
        self.file = directory / "rows.arrow"
        self.records: list[Record] = []
        self.events: list[Event] = []
        self.pauses: list[float] = []
        self.on_pause: Callable[[], None] = lambda: None
        table = pa.Table.from_pandas(make_houses("Chicago_IL", 400), preserve_index=False)
        with pa.OSFile(str(self.file), "wb") as sink, pa.ipc.new_file(sink, table.schema) as out:
            out.write_table(table)

    def segments(self, count: int, rows: int = ROWS) -> list[Segment]:
        return [Segment(f"City {i}", f"City_{i}", self.file, i * ROWS, rows) for i in range(count)]

    def run(self, segments: list[Segment] | int, **options: Any) -> dict[str, Record]:
        """What this run has recorded, by segment."""
        given = segments if isinstance(segments, list) else self.segments(segments)
        engine = SageMakerEngine(
            SageMakerOptions(
                **{"role": ROLE, "image": IMAGE, "s3_prefix": "s3://rows/many/", **options}
            ),
            self.events.append,
            self._pause,
        )
        self.records.clear()
        fingerprints = {segment.name: fingerprint(segment) for segment in given}
        engine.run(self.plan, given, fingerprints, self.records.append)
        return {record.segment: record for record in self.records}

    @property
    def notes(self) -> str:
        return "\n".join(event.text for event in self.events if isinstance(event, Note))

    def statuses(self, segment: str) -> list[str]:
        return [e.status for e in self.events if isinstance(e, Progress) and e.segment == segment]

    def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        assert len(self.pauses) < 2000, "the engine waits for ever"
        self.on_pause()


def fingerprint(segment: Segment) -> str:
    return f"{segment.start:08x}" + "ab" * 28


def name_of(segment: str, index: int, attempt: int = 1) -> str:
    return job_name("mme", segment, f"{index * ROWS:08x}", attempt)
