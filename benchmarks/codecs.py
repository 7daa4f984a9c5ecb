"""How long bodies take: ``python -m benchmarks.codecs``.

Decoding each content type at 1, 100 and 10,000 rows of 50 features, and the whole of a CSV request
against the least that the libraries need: pyarrow's CSV reader and `Booster.inplace_predict`. The
two sides take turns; ratios are medians of the turns.
"""

from __future__ import annotations

import io
import statistics
import struct
import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.csv
import xgboost as xgb
from rich.console import Console
from rich.table import Table

from mme_handler import codecs
from mme_handler.codecs import Output, Schema
from mme_handler.models.booster import adopt
from mme_handler.models.predictor import Predictor

FEATURES = 50
ROWS = (1, 100, 10_000)
TURNS = 31
SECONDS = 0.02  # for one turn of a short function


def timed(function: Callable[[], object]) -> float:
    """Seconds of one call, over as many as fit into `SECONDS`."""
    count, started = 0, time.perf_counter()
    while True:
        function()
        count += 1
        seconds = time.perf_counter() - started
        if seconds > SECONDS:
            return seconds / count


def csv_of(rows: np.ndarray) -> bytes:
    """The rows as text/csv, each number with its shortest digits."""
    return codecs.encode(rows, "text/csv").body


def recordio(rows: np.ndarray) -> bytes:
    """The rows as RecordIO-protobuf records, each with its features in one dense tensor."""

    def field(number: int, content: bytes) -> bytes:
        length = len(content)
        size = bytes([length]) if length < 128 else bytes([length & 127 | 128, length >> 7])
        return bytes([number << 3 | 2]) + size + content

    records = []
    for row in rows:
        value = field(2, field(1, row.tobytes()))
        record = field(1, field(1, b"values") + field(2, value))
        head = struct.pack("<II", 0xCED7230A, len(record))
        records.append(head + record + bytes(-len(record) % 4))
    return b"".join(records)


def bodies(rows: np.ndarray) -> dict[str, bytes]:
    """The same rows in each content type."""
    names = [f"f{n}" for n in range(FEATURES)]
    npz = io.BytesIO()
    np.savez(npz, rows)
    columns = [Output(name, np.ascontiguousarray(rows[:, n])) for n, name in enumerate(names)]
    lines = [" ".join(f"{n}:{value}" for n, value in enumerate(row)) for row in rows.tolist()]
    return {
        "text/csv": csv_of(rows),
        "text/csv, header": ",".join(names).encode() + b"\n" + csv_of(rows),
        "text/libsvm": "\n".join(lines).encode(),
        "application/json": b"[" + b",".join(b"[%b]" % r for r in csv_of(rows).split()) + b"]",
        "application/json, records": codecs.encode(columns, "application/json").body.replace(
            b'"predictions"', b'"instances"'
        ),
        "application/jsonlines": codecs.encode(columns, "application/jsonlines").body,
        "application/x-npy": codecs.encode(rows, "application/x-npy").body,
        "application/x-npz": npz.getvalue(),
        "application/x-recordio-protobuf": recordio(rows),
        "application/vnd.apache.arrow.stream": codecs.encode(
            columns, "application/vnd.apache.arrow.stream"
        ).body,
        "application/x-parquet": codecs.encode(columns, "application/x-parquet").body,
    }


def decoding() -> Table:
    """A table of milliseconds by content type and number of rows."""
    table = Table("decoding, 50 features", *(f"{rows:,} rows, ms" for rows in ROWS))
    schema = Schema(FEATURES)
    rng = np.random.default_rng(0)
    cells: dict[str, list[str]] = {}
    for count in ROWS:
        rows = rng.normal(size=(count, FEATURES)).astype(np.float32)
        for name, body in bodies(rows).items():
            content_type = name.partition(",")[0]

            def decode(body: bytes = body, content_type: str = content_type) -> object:
                return codecs.decode(body, content_type, schema)

            np.testing.assert_array_equal(decode(), rows)
            cells.setdefault(name, []).append(
                f"{statistics.median(timed(decode) for _ in range(7)) * 1e3:.3f}"
            )
    for name, values in cells.items():
        table.add_row(name, *values)
    return table


def whole_request() -> Table:
    """A CSV request of 10,000 rows: decode, predict and encode, against the libraries alone."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(10_000, FEATURES)).astype(np.float32)
    prices = rows @ rng.normal(size=FEATURES)
    settings = {"max_depth": 5, "eta": 0.2, "nthread": 1}
    booster = xgb.train(settings, xgb.DMatrix(rows, prices), 25)
    predictor, schema = Predictor(adopt(booster)), Schema(FEATURES)
    body = csv_of(rows)
    options = pa.csv.ReadOptions(autogenerate_column_names=True)

    def libraries() -> np.ndarray:
        table = pa.csv.read_csv(io.BytesIO(body), read_options=options)
        matrix = np.column_stack([column.to_numpy() for column in table.columns])
        return booster.inplace_predict(matrix)

    def ours() -> np.ndarray:
        return predictor.predict(codecs.decode(body, "text/csv", schema))

    def ours_whole() -> bytes:
        return codecs.encode(ours(), "application/json").body

    np.testing.assert_array_equal(ours(), libraries())
    turns = [(timed(libraries), timed(ours), timed(ours_whole)) for _ in range(TURNS)]
    table = Table("10,000 rows of 50 features as CSV", "ms", "ratio")
    for number, name in enumerate(
        (
            "pyarrow.csv and inplace_predict",
            "decode and predict",
            "the same, and the answer as JSON",
        )
    ):
        milliseconds = statistics.median(turn[number] for turn in turns) * 1e3
        ratio = statistics.median(turn[number] / turn[0] for turn in turns)
        table.add_row(name, f"{milliseconds:.1f}", f"{ratio:.2f}")
    return table


if __name__ == "__main__":
    console = Console()
    console.print(decoding())
    console.print(whole_request())
