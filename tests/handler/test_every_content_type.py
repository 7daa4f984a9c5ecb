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
from mme_handler.codecs.recordio_protobuf import _record_type
from mme_handler.models import outputs
from support.serving import Model, Server

CSV, JSON, LINES, NPY = "text/csv", "application/json", "application/jsonlines", "application/x-npy"
NPZ, RECORDIO = "application/x-npz", "application/x-recordio-protobuf"
ARROW, PARQUET = "application/vnd.apache.arrow.stream", "application/x-parquet"
LIBSVM = "text/libsvm"
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"

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


# -- Bodies ------------------------------------------------------------------------------------


def nullable(row: Rows) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in row]


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


def csv(rows: Rows, separator: str = ",", missing: str = "", header: bool = False) -> bytes:
    lines = [separator.join(SHUFFLED)] if header else []
    for row in rows[:, ORDER] if header else rows:
        cells = (missing if value is None else repr(value) for value in nullable(row))
        lines.append(separator.join(cells))
    return ("\n".join(lines) + "\n").encode()


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
        record = _record_type()()
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
        record = _record_type().FromString(body[8 : 8 + length])
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


# -- Servers and models ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def boosters() -> dict[str, xgb.Booster]:
    return {name: train(name) for name in ("reg:squarederror", "multi:softprob")}


def archive(make_model: Any, booster: xgb.Booster, files: dict[str, str] | None = None) -> Model:
    raw = bytes(booster.save_raw("ubj"))
    return make_model("none", files={"model.ubj": raw, **(files or {})})


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


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that answers as AWS's image does, with room for large requests and answers."""
    env = {"MME_RESPONSE_SHAPE": "aws", "SAGEMAKER_MAX_PAYLOAD_IN_MB": "25", "MME_HOSTS": "1"}
    with Server(tmp_path_factory.mktemp("aws"), env=env) as server:
        yield server


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


# -- Outputs -----------------------------------------------------------------------------------

CLASSES = 3
SHAPES = {  # of a row, for three classes and four features
    "score": (CLASSES,),
    "predicted_label": (),
    "labels": (CLASSES,),
    "probability": (),
    "probabilities": (CLASSES,),
    "raw_score": (),
    "raw_scores": (CLASSES,),
    "predicted_score": (),
    "margin": (CLASSES,),
    "leaf": (12 * CLASSES,),
    "contributions": (CLASSES, 5),
    "interactions": (CLASSES, 5, 5),
}


def expected_output(booster: xgb.Booster, output: str) -> np.ndarray:
    p = expected_of(booster, ROWS)
    kinds = {
        "margin": "output_margin",
        "leaf": "pred_leaf",
        "contributions": "pred_contribs",
        "interactions": "pred_interactions",
    }
    if output in kinds:
        return expected_of(booster, ROWS, **{kinds[output]: True})
    best = {"probability", "raw_score"}
    if output in best:
        return p.max(axis=1)
    others = {
        "predicted_label": p.argmax(axis=1),
        "labels": np.tile(np.arange(CLASSES), (len(p), 1)),
        "predicted_score": np.full(len(p), np.nan),
    }
    return others.get(output, p)


def unnamed(value: Any) -> Any:
    """A JSON value as lists: of an object its values, of null NaN."""
    if isinstance(value, dict):
        return [unnamed(each) for each in value.values()]
    if isinstance(value, list):
        return [unnamed(each) for each in value]
    return np.nan if value is None else value


def test_every_output_is_here():
    assert tuple(SHAPES) == outputs._KNOWN


@pytest.mark.parametrize("output", SHAPES)
def test_custom_attributes_ask_for_an_output(shared_server, loaded, boosters, output):
    expected = expected_output(boosters["multi:softprob"], output).astype(np.float32)
    assert expected.shape == (len(ROWS), *SHAPES[output])
    name = loaded["multi:softprob"].name
    headers = {ATTRIBUTES: f"trace=7; output={output}"}
    answers = {
        accept: shared_server.invoke(name, csv(ROWS), headers={**headers, "accept": accept})
        for accept in READ
    }
    assert {answer.status_code for answer in answers.values()} == {200}
    found: dict[str, Any] = {
        JSON: [unnamed(row[output]) for row in answers[JSON].json()["predictions"]],
        LINES: [unnamed(json.loads(line)[output]) for line in answers[LINES].text.splitlines()],
        CSV: from_csv(answers[CSV].content),
        NPY: from_npy(answers[NPY].content),
        RECORDIO: [label[output] for label in labels_of(answers[RECORDIO].content)],
        ARROW: unnamed(pa.ipc.open_stream(answers[ARROW].content).read_all()[output].to_pylist()),
        PARQUET: unnamed(
            pq.ParquetFile(io.BytesIO(answers[PARQUET].content)).read()[output].to_pylist()
        ),
    }
    for accept, values in found.items():
        read = np.array(values, np.float32)
        if accept not in (CSV, RECORDIO):  # which are flat
            assert read.shape == expected.shape, accept
        np.testing.assert_array_equal(read.ravel(), expected.ravel(), err_msg=accept)


def test_contributions_are_named(shared_server, loaded):
    headers = {ATTRIBUTES: "output=contributions,interactions"}
    answer = shared_server.invoke(loaded["reg:squarederror"].name, csv(ROWS), headers=headers)
    first = answer.json()["predictions"][0]
    assert list(first["contributions"]) == [*NAMES, "bias"]
    assert list(first["interactions"]) == [*NAMES, "bias"]
    assert list(first["interactions"]["AREA"]) == [*NAMES, "bias"]
    answer = shared_server.invoke(loaded["multi:softprob"].name, csv(ROWS), headers=headers)
    by_class = answer.json()["predictions"][0]["contributions"]
    assert [list(each) for each in by_class] == [[*NAMES, "bias"]] * CLASSES


def test_several_outputs(shared_server, loaded, boosters):
    model = loaded["multi:softprob"]
    headers = {ATTRIBUTES: "Output = Predicted_Label, probabilities", "accept": CSV}
    answer = shared_server.invoke(model.name, csv(ROWS), headers=headers)
    p = expected_of(boosters["multi:softprob"], ROWS)
    for line, row in zip(answer.text.splitlines(), p, strict=True):
        label, _, values = line.partition(",")
        assert int(label) == row.argmax()
        assert np.array_equal(np.float32(json.loads(values.strip('"'))), row)
    answer = shared_server.invoke(model.name, csv(ROWS), headers={**headers, "accept": NPY})
    assert from_npy(answer.content).dtype.names == ("predicted_label", "probabilities")


def test_unknown_outputs_are_refused(shared_server, loaded):
    name = loaded["reg:squarederror"].name
    answer = shared_server.invoke(name, csv(ROWS), headers={ATTRIBUTES: "output=probabilty"})
    assert answer.status_code == 400
    expected = "custom attributes: unknown output 'probabilty': did you mean 'probability'?"
    assert answer.json()["message"] == expected
    others = shared_server.invoke(name, csv(ROWS), headers={ATTRIBUTES: "trace-id 7"})
    assert others.status_code == 200


# -- The shapes of AWS's image -----------------------------------------------------------------


def test_the_shapes_of_aws(aws, make_model, boosters):
    one = aws.add(archive(make_model, boosters["reg:squarederror"]))
    several = aws.add(archive(make_model, boosters["multi:softprob"]))
    p, q = (expected_of(booster, ROWS) for booster in boosters.values())

    def ask(model: Model, **headers: str) -> Any:
        return aws.invoke(model.name, csv(ROWS), headers=headers)

    assert np.array_equal(np.float32(ask(one, accept=JSON).json()), p)
    assert np.array_equal(np.float32(ask(several, accept=JSON).json()), q)
    line = ask(one, accept=CSV).text
    assert "\n" not in line
    assert np.array_equal(np.float32(line.split(",")), p)
    line = ask(several, accept=CSV).text
    assert "\n" not in line
    assert np.array_equal(np.float32(json.loads(f"[{line}]")), q)
    # The other content types, and other outputs than the prediction, are as ever.
    assert_same_bits(ask(one, accept=LINES).content, LINES, p)
    assert_same_bits(ask(one, accept=NPY).content, NPY, p)
    answer = ask(several, accept=JSON, **{ATTRIBUTES: "output=predicted_label"})
    assert answer.json()["predictions"][0] == {"predicted_label": int(q[0].argmax())}


# -- Near the limit ----------------------------------------------------------------------------

LIMIT = 25 << 20


def test_a_request_near_the_limit(aws, make_model, boosters):
    model = aws.add(archive(make_model, boosters["reg:squarederror"]))
    part = make_rows(2_000, 3)
    text = csv(part)
    times = 24 * (1 << 20) // len(text)
    answer = aws.invoke(model.name, text * times, headers={"accept": NPY})
    assert answer.status_code == 200, answer.text
    expected = np.tile(expected_of(boosters["reg:squarederror"], part), times)
    assert_same_bits(answer.content, NPY, expected)


@pytest.mark.parametrize(("accept", "rows"), [(NPY, 2_000_000), (LINES, 500_000)])
def test_an_answer_near_the_limit(aws, make_model, boosters, accept, rows):
    model = aws.add(archive(make_model, boosters["multi:softprob"]))
    answer = aws.invoke(model.name, b",,,\n" * rows, headers={"accept": accept})
    assert answer.status_code == 200, answer.text
    assert 0.8 * LIMIT < len(answer.content) < LIMIT
    row = expected_of(boosters["multi:softprob"], np.full((1, 4), np.nan, np.float32))
    if accept == NPY:
        assert_same_bits(answer.content, NPY, np.repeat(row, rows, axis=0))
    else:
        (line,) = set(answer.content.splitlines())
        assert_same_bits(line, LINES, row)


def test_over_the_limit(aws, make_model, boosters):
    model = aws.add(archive(make_model, boosters["multi:softprob"]))
    # Ask for leave to send: otherwise the answer may be lost when the connection is reset.
    body = b",,,\n" * (LIMIT // 4 + 1000)
    refused = aws.invoke(model.name, body, headers={"expect": "100-continue"})
    assert refused.status_code == 413
    answer = aws.invoke(model.name, b",,,\n" * 1_000_000, headers={"accept": LINES})
    assert answer.status_code == 413
    assert "26,214,400 can be sent: send fewer rows" in answer.json()["message"]
    assert aws.invoke(model.name, csv(ROWS)).status_code == 200
