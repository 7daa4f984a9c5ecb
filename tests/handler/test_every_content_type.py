"""Every content type gives the numbers of XGBoost, and gives them back, bit for bit."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xgboost as xgb

from mme_handler import codecs
from mme_handler.codecs.recordio_protobuf import make_record_type
from support.content_types import (
    ARROW,
    CSV,
    JSON,
    LIBSVM,
    LINES,
    MAGIC,
    NAMES,
    NPY,
    NPZ,
    ORDER,
    PARQUET,
    READ,
    RECORDIO,
    ROWS,
    SHUFFLED,
    Rows,
    archive,
    assert_same_bits,
    csv,
    expected_of,
    nullable,
    train,
)
from support.models import Model
from support.serving import Server

# -- Bodies ------------------------------------------------------------------------------------


def lists(rows: Rows) -> list[list[float | None]]:
    return [nullable(row) for row in rows]


def records(rows: Rows) -> list[dict[str, float | None]]:
    return [dict(zip(SHUFFLED, nullable(row[list(ORDER)]), strict=True)) for row in rows]


def by_column(rows: Rows) -> dict[str, list[float | None]]:
    return {NAMES[i]: nullable(rows[:, i]) for i in ORDER}


def split(rows: Rows) -> dict[str, Any]:
    return {"columns": SHUFFLED, "index": [], "data": lists(rows[:, ORDER])}


def tensor(name: str, shape: list[int], data: Any) -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": "FP32", "data": data}


def flat(rows: Rows) -> list[float | None]:
    return nullable(rows.reshape(-1))


def tensors(rows: Rows) -> list[dict[str, Any]]:
    return [tensor(NAMES[i], [len(rows), 1], nullable(rows[:, i])) for i in ORDER]


def libsvm(rows: Rows, base: int) -> bytes:
    lines = []
    for row in rows:
        cells = (f"{i}:{v!r}" for i, v in enumerate(nullable(row), base) if v is not None)
        lines.append(" ".join(["0", *cells]))
    return "\n".join(lines).encode()


def lines_of(values: list[Any]) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def npy_fields(rows: Rows) -> bytes:
    array = np.empty(len(rows), [(name, "<f4") for name in SHUFFLED])
    for i, name in enumerate(NAMES):
        array[name] = rows[:, i]
    return npy(array)


def npz(rows: Rows, named: bool) -> bytes:
    stream = io.BytesIO()
    arrays = {NAMES[i]: rows[:, i] for i in ORDER} if named else {"rows": rows}
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def recordio(rows: Rows, sparse: bool) -> bytes:
    body = b""
    for row in rows:
        record = make_record_type()()
        values = record.features["values"].float32_tensor
        kept = np.flatnonzero(~np.isnan(row)) if sparse else np.arange(len(row))
        values.values.extend(row[kept].tolist())
        if sparse:
            values.keys.extend(kept.tolist())
            values.shape.append(len(row))
        data = record.SerializeToString()
        body += struct.pack("<II", MAGIC, len(data)) + data + bytes(-len(data) % 4)
    return body


def table(rows: Rows, as_list: bool = False) -> pa.Table:
    if as_list:
        return pa.table({"features": [row.tolist() for row in rows]})
    return pa.table({NAMES[i]: pa.array(rows[:, i], from_pandas=True) for i in ORDER})


def arrow(made: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, made.schema) as writer:
        writer.write_table(made, max_chunksize=10)
    return sink.getvalue().to_pybytes()


def parquet(made: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(made, sink, compression="snappy")
    return sink.getvalue()


class Body(NamedTuple):
    content_type: str
    make: Callable[[Rows], bytes]


def as_json(make: Callable[[Rows], Any]) -> Body:
    return Body(JSON, lambda rows: json.dumps(make(rows)).encode())


BODIES: dict[str, Body] = {
    "csv": Body(CSV, csv),
    "csv, nan": Body(CSV, lambda r: csv(r, missing="nan")),
    "csv, header in another order": Body(CSV, lambda r: csv(r, header=True)),
    "csv, semicolons": Body(CSV, lambda r: csv(r, ";")),
    "csv, semicolons and a header": Body(CSV, lambda r: csv(r, ";", header=True)),
    "csv, tabs": Body(CSV, lambda r: csv(r, "\t")),
    "libsvm, base 0": Body(LIBSVM, lambda r: libsvm(r, 0)),
    "libsvm, base 1": Body(LIBSVM, lambda r: libsvm(r, 1)),
    "recordio, dense": Body(RECORDIO, lambda r: recordio(r, sparse=False)),
    "recordio, sparse": Body(RECORDIO, lambda r: recordio(r, sparse=True)),
    "json, lists": as_json(lists),
    "json, records": as_json(records),
    "json, features": as_json(lambda r: [{"features": row} for row in lists(r)]),
    "json, by column": as_json(by_column),
    "json, columns and data": as_json(split),
    "json, instances": as_json(lambda r: {"instances": lists(r)}),
    "json, instances of features": as_json(
        lambda r: {"instances": [{"features": row} for row in lists(r)]}
    ),
    "json, instances of records": as_json(lambda r: {"instances": records(r)}),
    "json, inputs": as_json(lambda r: {"inputs": lists(r)}),
    "json, inputs by column": as_json(lambda r: {"inputs": by_column(r)}),
    "json, features of lists": as_json(lambda r: {"features": lists(r)}),
    "json, dataframe_records": as_json(lambda r: {"dataframe_records": records(r)}),
    "json, dataframe_split": as_json(lambda r: {"dataframe_split": split(r)}),
    "json, one tensor": as_json(lambda r: {"inputs": [tensor("x", list(r.shape), flat(r))]}),
    "json, one nested tensor": as_json(
        lambda r: {"id": "1", "inputs": [tensor("x", list(r.shape), lists(r))]}
    ),
    "json, a tensor for each feature": as_json(lambda r: {"inputs": tensors(r)}),
    "jsonlines, lists": Body(LINES, lambda r: lines_of(lists(r))),
    "jsonlines, records": Body(LINES, lambda r: lines_of(records(r))),
    "jsonlines, features": Body(LINES, lambda r: lines_of([{"features": row} for row in lists(r)])),
    "npy": Body(NPY, npy),
    "npy, by columns": Body(NPY, lambda r: npy(np.asfortranarray(r))),
    "npy, float64": Body(NPY, lambda r: npy(r.astype(">f8"))),
    "npy, fields": Body(NPY, npy_fields),
    "npz, one array": Body(NPZ, lambda r: npz(r, named=False)),
    "npz, an array for each feature": Body(NPZ, lambda r: npz(r, named=True)),
    "arrow": Body(ARROW, lambda r: arrow(table(r))),
    "arrow, a column of lists": Body(ARROW, lambda r: arrow(table(r, as_list=True))),
    "parquet": Body(PARQUET, lambda r: parquet(table(r))),
    "parquet, a column of lists": Body(PARQUET, lambda r: parquet(table(r, as_list=True))),
}
ONE_ROW: dict[str, Callable[[list[float | None]], Any]] = {
    "a flat list": lambda row: row,
    "instances": lambda row: {"instances": row},
    "inputs": lambda row: {"inputs": row},
    "features": lambda row: {"features": row},
    "a record": lambda row: dict(zip(NAMES, row, strict=True)),
    "columns and data": lambda row: {"columns": list(NAMES), "data": row},
    "a tensor of one dimension": lambda row: {"inputs": [tensor("x", [4], row)]},
}


# -- Models ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def boosters() -> dict[str, xgb.Booster]:
    return {name: train(name) for name in ("reg:squarederror", "multi:softprob")}


@pytest.fixture(scope="module")
def loaded(shared_server: Server, make_model: Any, boosters: Any) -> Iterator[dict[str, Model]]:
    """A model for each objective, and the same with libsvm's indices from 1."""
    models = {}
    for name, booster in boosters.items():
        models[name] = archive(make_model, booster)
        models[name + " 1"] = archive(make_model, booster, {"mme.toml": "libsvm_index_base = 1"})
    for model in models.values():
        shared_server.add(model)
    yield models
    for model in models.values():
        shared_server.unload(model.name)


# -- The same numbers --------------------------------------------------------------------------


def test_every_type_is_here():
    found = codecs.registry._codecs.values()
    readable = {codec.content_type for codec in found if codec.decode}
    writable = {codec.content_type for codec in found if codec.encode}
    assert {body.content_type for body in BODIES.values()} == readable
    assert set(READ) == writable


@pytest.mark.parametrize("objective", ["reg:squarederror", "multi:softprob"])
@pytest.mark.parametrize("kind", BODIES)
def test_predictions_are_the_same_bits(shared_server, loaded, boosters, objective, kind):
    content_type, make = BODIES[kind]
    model = loaded[objective + " 1" if kind == "libsvm, base 1" else objective]
    for rows in (ROWS, ROWS[4:5]):
        body = make(rows)
        expected = expected_of(boosters[objective], rows)
        for accept in READ:
            answer = shared_server.invoke(model.name, body, content_type, {"accept": accept})
            assert answer.status_code == 200, (accept, answer.text)
            assert answer.headers["content-type"] == accept
            assert_same_bits(answer.content, accept, expected)


ALIASED = [codec for codec in dict.fromkeys(codecs.registry._codecs.values()) if codec.aliases]


@pytest.mark.parametrize("shape", ONE_ROW)
def test_one_row_of_json(shared_server, loaded, boosters, shape):
    body = json.dumps(ONE_ROW[shape](nullable(ROWS[3])))
    answer = shared_server.invoke(loaded["reg:squarederror"].name, body, JSON)
    assert answer.status_code == 200, answer.text
    assert_same_bits(answer.content, JSON, expected_of(boosters["reg:squarederror"], ROWS[3:4]))


@pytest.mark.parametrize("codec", ALIASED, ids=lambda codec: codec.content_type)
def test_aliases(shared_server, loaded, boosters, codec):
    model = loaded["reg:squarederror"]
    expected = expected_of(boosters["reg:squarederror"], ROWS)
    body = next(made for made in BODIES.values() if made.content_type == codec.content_type)
    for alias in codec.aliases:
        headers = {"accept": alias if codec.encode else CSV}
        answer = shared_server.invoke(model.name, body.make(ROWS), alias.upper(), headers)
        assert answer.status_code == 200, (alias, answer.text)
        accept = codec.content_type if codec.encode else CSV
        assert answer.headers["content-type"] == accept
        assert_same_bits(answer.content, accept, expected)


WRONG_NAME = "the feature names are not the model's: unknown: 'YEAR'; missing: 'AGE'"
OTHER = dict.fromkeys(["AREA", "ROOMS", "YEAR", "LAT"], 1.0)
MISNAMED = {
    CSV: b"AREA,ROOMS,YEAR,LAT\n1,1,1,1\n",
    JSON: json.dumps([OTHER]).encode(),
    LINES: json.dumps(OTHER).encode(),
    NPY: npy(np.ones(1, [(name, "<f4") for name in OTHER])),
    ARROW: arrow(pa.table({name: [1.0] for name in OTHER})),
    PARQUET: parquet(pa.table({name: [1.0] for name in OTHER})),
}


@pytest.mark.parametrize("content_type", MISNAMED)
def test_other_names_are_refused(shared_server, loaded, content_type):
    name = loaded["reg:squarederror"].name
    answer = shared_server.invoke(name, MISNAMED[content_type], content_type)
    assert answer.status_code == 400
    assert WRONG_NAME in answer.json()["message"]
