"""Several outputs with names, as records, CSV and JSON."""

from __future__ import annotations

import json

import numpy as np

from mme_handler import codecs
from mme_handler.codecs import Output
from mme_handler.codecs.output import records

NAMES = ("AREA", "bias")
OUTPUTS = [
    Output("predicted_label", np.array([1, 0])),
    Output("probabilities", np.array([[0.1, 0.9], [0.8, np.nan]], np.float32)),
    Output("contributions", np.array([[0.5, 1], [2, 3]], np.float32), NAMES),
]


def test_records():
    first, second = map(json.loads, records(OUTPUTS))
    assert first == {
        "predicted_label": 1,
        "probabilities": [0.1, 0.9],
        "contributions": {"AREA": 0.5, "bias": 1.0},
    }
    assert second["probabilities"] == [0.8, None]


def test_names_of_two_axes_and_lists_of_classes():
    values = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)
    (row,) = map(json.loads, records([Output("interactions", values, NAMES, axes=2)]))
    first = {"AREA": {"AREA": 0, "bias": 1}, "bias": {"AREA": 2, "bias": 3}}
    assert row["interactions"][0] == first
    (row,) = map(json.loads, records([Output("contributions", values[:, 0], NAMES)]))
    assert row["contributions"] == list(first.values())


def test_json():
    answer = json.loads(codecs.encode(OUTPUTS, "application/json").body)
    assert [row["predicted_label"] for row in answer["predictions"]] == [1, 0]


def test_csv_of_several_outputs_has_a_cell_for_each():
    lines = codecs.encode(OUTPUTS[:2], "text/csv").body.decode().splitlines()
    assert lines == ['1,"[0.1,0.9]"', '0,"[0.8,null]"']


def test_csv_of_one_output_has_its_values_side_by_side():
    lines = codecs.encode(OUTPUTS[2:], "text/csv").body.decode().splitlines()
    assert lines == ["0.5,1.0", "2.0,3.0"]


def test_csv_of_a_value_that_is_not_there():
    missing = [OUTPUTS[0], Output("probability", np.full(2, np.nan, np.float32))]
    assert codecs.encode(missing, "text/csv").body == b"1,nan\n0,nan\n"
