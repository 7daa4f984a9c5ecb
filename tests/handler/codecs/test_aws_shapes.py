"""The shapes of AWS's XGBoost image in multi-model mode."""

from __future__ import annotations

import numpy as np
import pytest

from mme_handler import codecs
from mme_handler.codecs import Output, aws_shapes

ONE = np.float32([0.1, np.nan, 2])
TWO = np.float32([[0.1, 0.9], [0.8, np.nan]])


@pytest.mark.parametrize(
    ("scores", "accept", "batch", "expected"),
    [
        (ONE, "application/json", False, b"[0.1,null,2.0]"),
        (TWO, "application/json", False, b"[[0.1,0.9],[0.8,null]]"),
        (ONE, "text/csv", False, b"0.1,nan,2.0"),
        (TWO, "text/csv", False, b"[0.1,0.9],[0.8,nan]"),
        (ONE, "text/csv", True, b"0.1\nnan\n2.0\n"),
        (ONE, "application/json", True, b"[0.1,null,2.0]"),
        (ONE, "application/jsonlines", False, b'{"score":0.1}\n{"score":null}\n{"score":2.0}\n'),
    ],
)
def test_shapes(scores, accept, batch, expected):
    assert codecs.encode(scores, accept, encoders=aws_shapes.encoders(batch)).body == expected


def test_other_outputs_have_the_usual_shape():
    outputs = [Output("predicted_label", np.array([1]))]
    for accept in ("application/json", "text/csv"):
        usual = codecs.encode(outputs, accept)
        assert codecs.encode(outputs, accept, encoders=aws_shapes.encoders(False)) == usual
