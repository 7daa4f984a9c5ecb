from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from mme_training.data.dataset import Dataset, concatenate
from mme_training.errors import UserError

DENSE = np.arange(12, dtype=np.float32).reshape(6, 2)
LABEL = np.arange(6, dtype=np.float32)
FEATURES = [
    DENSE,
    sparse.csr_matrix(DENSE),
    pd.DataFrame({"a": DENSE[:, 0], "b": pd.Categorical(["x", "y"] * 3)}),
]


@pytest.mark.parametrize("features", FEATURES, ids=["array", "csr", "frame"])
def test_parts_that_are_put_together_are_the_whole(features) -> None:
    whole = Dataset(features, LABEL, weight=LABEL + 1, qid=np.repeat([1, 2], 3).astype(np.uint32))
    parts = [whole.take(np.arange(0, 2)), whole.take(np.arange(2, 6))]
    assert [part.rows for part in parts] == [2, 4]
    again = concatenate(parts)
    assert (again.rows, again.columns) == (6, 2)
    if isinstance(features, pd.DataFrame):
        pd.testing.assert_frame_equal(again.features, features)
    else:
        np.testing.assert_array_equal(
            np.asarray(sparse.csr_matrix(again.features).todense()), DENSE
        )
    for name in ("label", "weight", "qid"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))


def test_a_query_has_one_weight() -> None:
    qid = np.array([4, 4, 4, 9, 9, 12], np.uint32)
    weight = np.array([2, 2, 2, 1, 1, 5], np.float32)
    matrix = Dataset(DENSE, LABEL, weight, qid).matrix(1)
    np.testing.assert_array_equal(matrix.get_weight(), [2, 1, 5])
    weight[4] = 3
    with pytest.raises(UserError, match="row 5 has another weight than the first row of its query"):
        Dataset(DENSE, LABEL, weight, qid).matrix(1)


def test_names_and_categories_of_a_frame_are_kept() -> None:
    matrix = Dataset(FEATURES[2], LABEL).matrix(1)
    assert matrix.feature_names == ["a", "b"]
    assert matrix.feature_types == ["float", "c"]


@pytest.mark.parametrize("name", ["weight", "qid"])
@pytest.mark.parametrize("first", [True, False])
def test_parts_that_do_not_go_together_are_refused(name: str, first: bool) -> None:
    one = Dataset(DENSE, LABEL, **{name: np.ones(6, np.uint32)})
    other = Dataset(DENSE, LABEL)
    with pytest.raises(UserError, match="those of others have none"):
        concatenate([one, other] if first else [other, one])
