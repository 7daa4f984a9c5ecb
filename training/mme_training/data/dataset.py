"""A table ready to train on: features, label, and what goes with each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import xgboost as xgb
from numpy.typing import NDArray
from scipy import sparse

from mme_training.errors import UserError

Floats: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows to train on.

    Every array has as many rows as `features`, which is a C-contiguous float32 array (rows,
    columns), a float32 CSR matrix whose absent cells are missing values, or a frame whose columns
    are numbers or categories.
    """

    features: Floats | sparse.csr_matrix | pd.DataFrame
    label: Floats
    """(rows,), or (rows, targets) for a model of several outputs."""
    weight: Floats | None = None
    qid: NDArray[np.uint32] | None = None
    """The query of each row, for ranking; the rows of a query are neighbours."""

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return int(self.features.shape[0])

    @property
    def columns(self) -> int:
        """How many features there are."""
        return int(self.features.shape[1])

    def take(self, indices: NDArray[np.int64]) -> Dataset:
        """The rows at `indices`, in their order."""
        features = self.features
        return Dataset(
            features.iloc[indices] if isinstance(features, pd.DataFrame) else features[indices],
            self.label[indices],
            None if self.weight is None else self.weight[indices],
            None if self.qid is None else self.qid[indices],
        )

    def matrix(self, nthread: int | None = None) -> xgb.DMatrix:
        """What XGBoost trains on; the names of a frame's columns are the names of the features.

        Raises:
            UserError: the rows of a query have different weights.
        """
        categorical = isinstance(self.features, pd.DataFrame) and any(
            isinstance(dtype, pd.CategoricalDtype) for dtype in self.features.dtypes
        )
        return xgb.DMatrix(
            self.features,
            label=self.label,
            weight=self._weight(),
            qid=self.qid,
            nthread=nthread,
            enable_categorical=categorical,
        )

    def _weight(self) -> Floats | None:
        """A weight for each row, or, where there are queries, for each query."""
        if self.weight is None or self.qid is None:
            return self.weight
        starts = np.flatnonzero(np.r_[True, self.qid[1:] != self.qid[:-1]])
        counts = np.diff(np.r_[starts, self.rows])
        weights = self.weight[starts]
        differing = np.flatnonzero(np.repeat(weights, counts) != self.weight)
        if differing.size:
            raise UserError(
                f"row {differing[0] + 1} has another weight than the first row of its query: "
                "XGBoost weighs whole queries"
            )
        return weights


def concatenate(datasets: Sequence[Dataset]) -> Dataset:
    """One data set with the rows of all, which have the same columns.

    Raises:
        UserError: some have weights, or queries, and others have none.
    """
    first = datasets[0]
    if len(datasets) == 1:
        return first
    features: Any
    if isinstance(first.features, pd.DataFrame):
        features = pd.concat([part.features for part in datasets], ignore_index=True)
    elif isinstance(first.features, np.ndarray):
        features = np.concatenate([part.features for part in datasets])
    else:
        features = sparse.vstack([part.features for part in datasets], format="csr")

    def together(name: str) -> Any:
        arrays = [getattr(part, name) for part in datasets]
        absent = [array is None for array in arrays]
        if any(absent) and not all(absent):
            what = "query ids" if name == "qid" else "weights"
            raise UserError(f"the rows of some channels have {what}, those of others have none")
        return None if all(absent) else np.concatenate(arrays)

    return Dataset(features, together("label"), together("weight"), together("qid"))
