"""The picture: that it is one, of data and of none."""

from __future__ import annotations

import io
import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from matplotlib.image import imread

from mme_hosting.metrics.catalogue import METRICS
from mme_hosting.metrics.fetch import Report, Series
from mme_hosting.metrics.picture import _alone, draw

NAN = math.nan


def report(values: tuple[float, ...]) -> Report:
    begin = datetime(2026, 1, 1, 22, tzinfo=UTC)
    times = tuple(begin + timedelta(minutes=n) for n in range(len(values)))
    return Report("houses", "main", times, 60, {m: Series(m, values) for m in METRICS}, ())


def colours(picture: np.ndarray) -> int:
    """Pixels that are neither white nor a shade of grey."""
    low, high = picture[..., :3].min(axis=2), picture[..., :3].max(axis=2)
    return int((high - low > 0.2).sum())


@pytest.mark.parametrize("values", [(1.0,) * 60, (1.0, NAN, 2.0, 3.0), (0.0,), (NAN, 5.0)])
def test_a_picture_of_data(values):
    picture = imread(io.BytesIO(draw(report(values))))
    assert picture.shape[:2] == (1320, 1200)
    assert colours(picture) > 100


def test_a_picture_of_nothing_says_so():
    assert colours(imread(io.BytesIO(draw(report((NAN,) * 60))))) == 0


def test_a_value_without_neighbours_gets_a_dot():
    assert _alone((1.0, NAN, 1.0, 1.0, NAN, NAN, 1.0)) == [
        *(True, False, False, False, False, False, True)
    ]
