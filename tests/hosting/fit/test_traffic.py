from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mme_hosting.errors import HostingError
from mme_hosting.fit.archives import Packed
from mme_hosting.fit.traffic import read, zipf, zipf_shares

NAMES = [
    Packed("a.tar.gz", 1),
    Packed("b.tar.gz", 1),
    Packed("city/c/2-0123456789ab.tar.gz", 1, ("city/c", "city/c/1-ba9876543210.tar.gz")),
]
ROWS = [(3.0, "b"), (1.0, "a.tar.gz"), (2.0, "a"), (4.0, "city/c")]
TIMES = [datetime.fromtimestamp(1.7e9 + time, UTC) for time, _ in ROWS]


def csv_file(path: Path) -> Path:
    file = path / "t.csv"
    file.write_text("time,model\n" + "".join(f"{time},{model}\n" for time, model in ROWS))
    return file


def json_lines(path: Path) -> Path:
    file = path / "t.jsonl"
    lines = [
        json.dumps({"TargetModel": model, "timestamp": time.isoformat()})
        for time, (_, model) in zip(TIMES, ROWS, strict=True)
    ]
    file.write_text("\n".join(lines) + "\n\n")
    return file


def parquet(path: Path) -> Path:
    file = path / "t.parquet"
    pq.write_table(pa.table({"time": TIMES, "model": [model for _, model in ROWS]}), file)
    return file


@pytest.mark.parametrize("write", [csv_file, json_lines, parquet])
def test_requests_come_in_the_order_of_their_times(tmp_path: Path, write) -> None:
    traffic = read(write(tmp_path), NAMES)
    assert traffic.trace == [0, 0, 1, 2] * 2
    assert traffic.warm == 4
    assert traffic.rate == pytest.approx(4 / 3)
    assert traffic.unknown == 0


def test_a_log_of_names_has_no_rate(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("b\nunknown\n\na\nunknown\n")
    traffic = read(file, NAMES)
    assert traffic.trace == [1, 3, 0, 3] * 2
    assert (traffic.rate, traffic.unknown) == (None, 1)


def test_a_model_by_its_name_or_the_key_of_any_version(tmp_path: Path) -> None:
    file = tmp_path / "log"
    keys = [NAMES[2].name, NAMES[2].also[1], "city/c/3-000000000000.tar.gz"]
    file.write_text("\n".join(["city/c", *keys]))
    traffic = read(file, NAMES)
    assert traffic.trace == [2, 2, 2, 3] * 2
    assert traffic.what.endswith("4 requests, 2 models")


def test_the_rate_is_the_busiest_minutes(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    times = [0, *range(120, 180), 300]
    file.write_text("model,time\n" + "".join(f"a,{time}\n" for time in times))
    assert read(file, NAMES).rate == 1


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("t.csv", "name\na\n", "row 1 has no model"),
        ("t.csv", "model,time\na,1\nb,\n", "1 of 2 requests have no time"),
        ("t.csv", "model,time\na,noon\n", "noon"),
        ("t.csv", "model,time\na,nan\na,1\n", "nan is no time"),
        ("t.jsonl", '{"model": "a", "time": [1]}', r"\[1\] is no time"),
        ("t.jsonl", '{"model": "a", "time": 1' + "0" * 400 + "}", "is no time"),
        ("t.jsonl", "[" * 99_999, "cannot be read"),
        ("T.JSONL", "[1]\n", "row 1 is no record"),
        ("t.jsonl", "[1]\n", "row 1 is no record"),
        ("t.jsonl", "{\n", "cannot be read"),
        ("t.parquet", "no", "cannot be read"),
        ("log", "\n\n", "has no requests"),
        ("log", "x\ny\n", "names none of the models: it has x, y, and the models are a.tar.gz"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, name: str, text: str, reason: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(HostingError, match=reason):
        read(tmp_path / name, NAMES)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(HostingError, match="cannot be read"):
        read(tmp_path / "absent.csv", NAMES)


def test_zipf_has_its_shares_and_is_the_same_again() -> None:
    traffic = zipf(50, 1.1)
    seen = sorted(Counter(traffic.trace).values(), reverse=True)
    shares = zipf_shares(50, 1.1)
    assert shares.sum() == pytest.approx(1)
    assert seen[0] / len(traffic.trace) == pytest.approx(shares[0], rel=0.02)
    assert traffic.trace == zipf(50, 1.1).trace
    assert traffic.trace != zipf(50, 1.1, seed=1).trace
