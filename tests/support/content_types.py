"""Rows, models and answers for the tests that go through every content type."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xgboost as xgb

from mme_handler.codecs.recordio_protobuf import make_record_type
from support.models import Model

CSV, JSON, LINES, NPY = "text/csv", "application/json", "application/jsonlines", "application/x-npy"
NPZ, RECORDIO = "application/x-npz", "application/x-recordio-protobuf"
ARROW, PARQUET = "application/vnd.apache.arrow.stream", "application/x-parquet"
LIBSVM = "text/libsvm"

NAMES = ("AREA", "ROOMS", "AGE", "LAT")
ORDER = (2, 0, 3, 1)  # of the columns where they are matched by name
SHUFFLED = [NAMES[i] for i in ORDER]
MAGIC = 0xCED7230A

Rows = np.ndarray


def make_rows(count: int, seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    rows = (rng.normal(size=(count, 4)) * [100, 3, 40, 50]).astype(np.float32)
    rows[rng.random(rows.shape) < 0.15] = np.nan
    return rows


ROWS = make_rows(23, 7)


def train(objective: str) -> xgb.Booster:
    rows = make_rows(600, 1)
    label = np.nan_to_num(rows[:, 0]) + np.nan_to_num(rows[:, 1]) * 30
    settings: dict[str, Any] = {"objective": objective, "max_depth": 4, "seed": 1, "nthread": 1}
    if objective.startswith("multi"):
        label = np.digitize(label, [-50, 50])
        settings["num_class"] = 3
    return xgb.train(settings, xgb.DMatrix(rows, label, feature_names=list(NAMES)), 12)


def expected_of(booster: xgb.Booster, rows: Rows, **kind: bool) -> np.ndarray:
    return booster.predict(xgb.DMatrix(rows, feature_names=list(NAMES)), **kind)


def nullable(row: Rows) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in row]


def csv(rows: Rows, separator: str = ",", missing: str = "", header: bool = False) -> bytes:
    lines = [separator.join(SHUFFLED)] if header else []
    for row in rows[:, ORDER] if header else rows:
        cells = (missing if value is None else repr(value) for value in nullable(row))
        lines.append(separator.join(cells))
    return ("\n".join(lines) + "\n").encode()


def archive(make_model: Any, booster: xgb.Booster, files: dict[str, str] | None = None) -> Model:
    raw = bytes(booster.save_raw("ubj"))
    return make_model("none", files={"model.ubj": raw, **(files or {})})


# -- Answers -----------------------------------------------------------------------------------


def from_csv(body: bytes) -> np.ndarray:
    rows = [[np.float32(cell) for cell in line.split(",")] for line in body.decode().splitlines()]
    return np.array(rows, np.float32)


def from_json(body: bytes) -> np.ndarray:
    return np.array([row["score"] for row in json.loads(body)["predictions"]], np.float32)


def from_lines(body: bytes) -> np.ndarray:
    return np.array([json.loads(line)["score"] for line in body.splitlines()], np.float32)


def from_npy(body: bytes) -> np.ndarray:
    return np.load(io.BytesIO(body), allow_pickle=False)


def labels_of(body: bytes) -> Iterator[dict[str, list[float]]]:
    """The label of each record."""
    while body:
        magic, length = struct.unpack_from("<II", body)
        assert magic == MAGIC
        record = make_record_type().FromString(body[8 : 8 + length])
        yield {name: list(record.label[name].float32_tensor.values) for name in record.label}
        body = body[8 + length + -length % 4 :]


def from_recordio(body: bytes) -> np.ndarray:
    return np.array([label["score"] for label in labels_of(body)], np.float32)


def from_arrow(body: bytes) -> np.ndarray:
    return from_table(pa.ipc.open_stream(body).read_all())


def from_parquet(body: bytes) -> np.ndarray:
    return from_table(pq.ParquetFile(io.BytesIO(body)).read(use_threads=False))


def from_table(read: pa.Table) -> np.ndarray:
    assert read.column_names == ["score"]
    return np.array(read["score"].to_pylist(), np.float32)


READ: dict[str, Callable[[bytes], np.ndarray]] = {
    CSV: from_csv,
    JSON: from_json,
    LINES: from_lines,
    NPY: from_npy,
    RECORDIO: from_recordio,
    ARROW: from_arrow,
    PARQUET: from_parquet,
}


def assert_same_bits(body: bytes, accept: str, expected: np.ndarray) -> None:
    read = READ[accept](body)
    assert read.dtype == np.float32
    assert read.tobytes() == expected.tobytes(), accept  # whatever shape a row of one has
