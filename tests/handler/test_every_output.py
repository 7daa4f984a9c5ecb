"""Every output in every content type, the shapes of AWS, and bodies near the limit."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xgboost as xgb

from mme_handler.models import outputs
from support.content_types import (
    ARROW,
    CSV,
    JSON,
    LINES,
    NAMES,
    NPY,
    PARQUET,
    READ,
    RECORDIO,
    ROWS,
    archive,
    assert_same_bits,
    csv,
    expected_of,
    from_csv,
    from_npy,
    labels_of,
    make_rows,
    train,
)
from support.contract import ATTRIBUTES
from support.models import Model
from support.serving import Server


@pytest.fixture(scope="module")
def boosters() -> dict[str, xgb.Booster]:
    return {name: train(name) for name in ("reg:squarederror", "multi:softprob")}


@pytest.fixture(scope="module")
def loaded(shared_server: Server, make_model: Any, boosters: Any) -> Iterator[dict[str, Model]]:
    """A model for each objective."""
    models = {name: archive(make_model, booster) for name, booster in boosters.items()}
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
