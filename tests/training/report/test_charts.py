from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mme_training.report import charts

NUMBERS = st.floats(-1e30, 1e30, allow_subnormal=False)
SCORES = st.floats(0, 1, allow_subnormal=False)


def column(elements: st.SearchStrategy[float]) -> st.SearchStrategy[np.ndarray]:
    return arrays.arrays(np.float64, st.just(6), elements=elements)


def check(drawn: str) -> ET.Element:
    root = ET.fromstring(drawn)
    assert root.attrib["role"] == "img"
    assert "nan" not in drawn.lower()
    assert "#0102" not in drawn
    assert "font-family" not in drawn
    ids = re.findall(r' id="([^"]*)"', drawn)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]*)', drawn)) == set(ids)
    assert all(one.startswith("name-") for one in ids)
    return root


def texts(root: ET.Element) -> list[str]:
    return ["".join(element.itertext()) for element in root.iter() if element.tag.endswith("}text")]


@settings(max_examples=8)
@given(actual=column(NUMBERS), predicted=column(NUMBERS))
def test_any_numbers_can_be_drawn(actual: np.ndarray, predicted: np.ndarray):
    for figure in (
        charts.distribution(actual, "test-rmse", "models"),
        charts.against(actual, predicted),
        charts.residuals(actual, predicted),
    ):
        check(charts.svg(figure, "name", "text"))


@settings(max_examples=8)
@given(label=column(st.sampled_from([0.0, 1.0])), score=column(SCORES))
def test_any_scores_can_be_drawn(label: np.ndarray, score: np.ndarray):
    for figure in (charts.scores(label, score), charts.calibration(label, score)):
        check(charts.svg(figure, "name", "text"))


@pytest.mark.parametrize("count", [1, 3, 500])
def test_any_number_of_classes(count: int):
    label = np.arange(count, dtype=np.float64)
    ticks = texts(check(charts.svg(charts.classes(label, label), "name", "text")))
    assert "0" in ticks
    assert len(ticks) < 25


@pytest.mark.parametrize("values", [[5.0], [0.0], [7.5, 7.5, 7.5], [1e-300, 2e-300], [-4e20, 1.0]])
def test_few_or_equal_values(values: list[float]):
    check(charts.svg(charts.distribution(np.array(values), "x", "y"), "name", "text"))


def test_the_same_values_give_the_same_characters():
    values = np.arange(50, dtype=np.float64) ** 2
    drawn = [charts.svg(charts.residuals(values, values[::-1]), "name", "t") for _ in range(2)]
    assert drawn[0] == drawn[1]


def test_many_rows_are_thinned():
    values = np.random.default_rng(0).normal(size=50_000)
    drawn = charts.svg(charts.against(values, values), "name", "text")
    assert len(drawn) < 100_000
    assert drawn.count("<use") < charts.MAX_POINTS + 20


def test_hostile_words_stay_text():
    figure = charts.distribution(np.arange(9.0), "<b>&$x_2$", "rows")
    drawn = charts.svg(figure, "name", '"><script>')
    root = check(drawn)
    assert "<b>&$x_2$" in texts(root)
    assert root.attrib["aria-label"] == '"><script>'


def test_calibration_of_scores_that_are_right():
    score = np.repeat([0.05, 0.55, 1.0], 20)
    label = np.concatenate([np.arange(20) < 1, np.arange(20) < 11, np.ones(20)]).astype(float)
    axes = charts.calibration(label, score).axes[0]
    points = axes.collections[0].get_offsets()
    np.testing.assert_allclose(points, [[0.05, 0.05], [0.55, 0.55], [1, 1]])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (-1.5, "\u22121.5"),
        (0.00012, "0.00012"),
        (9999, "9999"),
        (12_000, "12k"),
        (-250_000, "\u2212250k"),
        (3_400_000, "3.4M"),
        (2e9, "2G"),
        (1e20, "1e+20"),
    ],
)
def test_short_numbers(value: float, expected: str):
    assert charts.short(value) == expected
