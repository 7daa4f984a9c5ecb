"""How rows are divided into those to learn from, to stop on, and to judge by."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd


class Split(NamedTuple):
    """Three tables with the columns of the table they came from, and no row in common."""

    train: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame


def split(frame: pd.DataFrame, seed: int) -> Split:
    """Shuffle the rows of `frame` and cut them 60 / 30 / 10; rows keep their index labels.

    The parts are disjoint and together are `frame`. A widely copied version of this split leaves
    the test rows inside validation, and so reports an error that early stopping has already seen;
    this one does not.

    Cuts that fall within a row are rounded down. From three rows on no part is empty; with fewer
    some are.

    Raises:
        ValueError: `seed` is negative.
    """
    rows = len(frame)
    order = np.random.default_rng(seed).permutation(rows)
    train, validation, test = np.split(order, [rows * 6 // 10, rows * 9 // 10])
    return Split(frame.iloc[train], frame.iloc[validation], frame.iloc[test])
