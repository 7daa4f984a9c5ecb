"""float32 from Python numbers: rounding, overflow, and quoting in messages."""

from __future__ import annotations

import numpy as np
import pytest

from mme_handler.codecs import matrix


def test_to_float32():
    assert matrix.to_float32([[0.1, 2], [3, 2**64]]).tolist() == [
        [float(np.float32(0.1)), 2],
        [3, 2.0**64],
    ]
    assert np.isnan(matrix.to_float32([None, 1.0])).tolist() == [True, False]


@pytest.mark.parametrize("value", [matrix.FLOAT32_OVERFLOW, -1e300])
def test_overflow(value):
    assert matrix.to_float32([1.0, value]) is None


def test_the_limit_is_the_first_that_overflows():
    below = np.nextafter(matrix.FLOAT32_OVERFLOW, 0)
    assert matrix.to_float32([float(below)]).tolist() == [float(np.finfo(np.float32).max)]


def test_stack():
    one = np.zeros((1, 2), np.float32)
    assert matrix.stack([one]) is one
    assert matrix.stack([one, one]).shape == (2, 2)


def test_quote():
    assert matrix.quote('a"\n') == r'"a\"\n"'
    assert matrix.quote("\ud800ö") == r'"\\ud800ö"'
    assert matrix.quote("x" * 41) == f'"{"x" * 40}..."'
