from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mme_hosting.fit.line import fit

sizes = st.lists(st.integers(0, 10**8), min_size=1, max_size=60)


def totals(sizes: list[int], fixed: float, per_byte: float) -> list[tuple[int, float]]:
    return [(n, fixed * n + per_byte * sum(sizes[:n])) for n in range(1, len(sizes) + 1)]


@given(sizes, st.floats(1e5, 1e7), st.floats(0, 3))
def test_what_all_took_together_comes_out_again(sizes, fixed, per_byte) -> None:
    taken = totals(sizes, fixed, per_byte)
    line = fit(sizes, taken)
    reckoned = line.fixed * len(sizes) + line.per_byte * sum(sizes)
    off = 3 * line.spread * len(sizes) ** 0.5
    assert reckoned == pytest.approx(taken[-1][1], rel=1e-3, abs=off)
    assert line.samples == len(sizes)


@given(sizes, st.floats(-1e9, 1e9), st.randoms(use_true_random=False))
def test_no_model_takes_less_than_nothing(sizes, step, random) -> None:
    line = fit(sizes, [(n, step * random.random()) for n in range(1, len(sizes) + 1)])
    assert min(line.fixed, line.per_byte, line.spread) >= 0
    assert line.at(1000) >= 0


def test_models_of_many_sizes_tell_the_slope() -> None:
    many = np.linspace(1e4, 1e7, 50).astype(int).tolist()
    line = fit(many, totals(many, 500_000, 1.4))
    assert line.fixed == pytest.approx(500_000)
    assert line.per_byte == pytest.approx(1.4)
    assert line.spread == pytest.approx(0, abs=1)
    assert line.at(1_000_000) == pytest.approx(1_900_000, abs=2)


def test_models_of_one_size_do_not() -> None:
    same = [55_000 + n for n in range(30)]
    line = fit(same, totals(same, 500_000, 1.4))
    assert line.per_byte == 0
    assert line.fixed == pytest.approx(577_000, rel=0.001)
