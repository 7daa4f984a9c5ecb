from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mme_training.split import split

SEEDS = st.integers(0, 2**32)


def numbered(rows: int) -> pd.DataFrame:
    return pd.DataFrame({"row": range(rows)})


@settings(max_examples=50)
@given(rows=st.integers(0, 500), seed=SEEDS)
def test_parts_are_disjoint_and_together_everything(rows: int, seed: int) -> None:
    parts = split(numbered(rows), seed)
    assert sorted(row for part in parts for row in part["row"]) == list(range(rows))


@settings(max_examples=50)
@given(rows=st.integers(3, 500), seed=SEEDS)
def test_parts_have_their_shares_and_are_not_empty(rows: int, seed: int) -> None:
    parts = split(numbered(rows), seed)
    for part, share in zip(parts, (0.6, 0.3, 0.1), strict=True):
        assert len(part) > 0
        assert abs(len(part) - share * rows) < 1


def test_a_thousand_rows_give_exact_counts() -> None:
    assert [len(part) for part in split(numbered(1000), 1)] == [600, 300, 100]


def test_the_seed_decides_the_order() -> None:
    frame = numbered(100)
    pd.testing.assert_frame_equal(split(frame, 1).train, split(frame, 1).train)
    assert split(frame, 1).train["row"].tolist() != split(frame, 2).train["row"].tolist()


def test_rows_are_shuffled_and_whole() -> None:
    frame = numbered(100).assign(square=lambda table: table["row"] ** 2)
    train = split(frame, 1).train
    assert train["row"].tolist() != sorted(train["row"])
    assert (train["square"] == train["row"] ** 2).all()
    assert (train.index == train["row"]).all()


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError):
        split(numbered(10), -1)
