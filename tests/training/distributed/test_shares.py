from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from mme_training.data.dataset import Dataset, concatenate
from mme_training.distributed.shares import conform, copied, describe, part, reconcile
from mme_training.errors import UserError


def dense(rows: int, columns: int, **more: object) -> Dataset:
    cells = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns)
    return Dataset(cells, np.arange(rows, dtype=np.float32), **more)  # type: ignore[arg-type]


def libsvm(columns: int) -> Dataset:
    cells = sparse.csr_matrix(np.eye(2, columns, dtype=np.float32))
    return Dataset(cells, np.zeros(2, np.float32))


def frame(**columns: object) -> Dataset:
    table = pd.DataFrame(columns)
    return Dataset(table, np.zeros(len(table), np.float32))


def united(**data: Dataset) -> dict[str, Dataset]:
    agreement = reconcile({host: describe(share) for host, share in data.items()})
    return {host: conform(share, agreement) for host, share in data.items()}


def refusal(**data: Dataset) -> str:
    with pytest.raises(UserError) as error:
        united(**data)
    return str(error.value)


def test_sparse_shares_get_the_columns_of_the_widest() -> None:
    data = united(one=libsvm(3), two=libsvm(7))
    assert [share.columns for share in data.values()] == [7, 7]
    np.testing.assert_array_equal(data["one"].features.toarray(), np.eye(2, 7))


def test_dense_shares_must_have_the_same_columns() -> None:
    assert refusal(one=dense(2, 3), two=dense(2, 4)) == (
        "one has 3 features in the channel train, two has 4"
    )
    assert refusal(one=dense(2, 3), two=libsvm(4)) == (
        "one has 3 features in the channel train, two has 4"
    )


def test_categories_are_united_in_one_order() -> None:
    data = united(
        one=frame(city=pd.Categorical(["b", "a"]), size=[1.0, 2.0]),
        two=frame(city=pd.Categorical(["c", "b"]), size=[3.0, 4.0]),
    )
    for share in data.values():
        assert list(share.features["city"].cat.categories) == ["a", "b", "c"]  # type: ignore[union-attr]
    assert data["one"].features["city"].tolist() == ["b", "a"]  # type: ignore[union-attr]
    assert data["two"].features["city"].tolist() == ["c", "b"]  # type: ignore[union-attr]


def test_an_order_that_all_share_is_kept() -> None:
    sizes = pd.Categorical(["small", "large"], categories=["small", "large"])
    data = united(one=frame(size=sizes), two=frame(size=sizes))
    assert list(data["two"].features["size"].cat.categories) == ["small", "large"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("two", "reason"),
    [
        (
            frame(city=[1.0], size=[3.0]),
            "column 1 is city (categories) on one and city (numbers) on two",
        ),
        (
            frame(city=pd.Categorical(["a"]), rooms=[3.0]),
            "column 2 is size (numbers) on one and rooms (numbers) on two",
        ),
        (
            frame(city=pd.Categorical(["a"])),
            "two has 1 features in the channel train, one has 2",
        ),
        (
            frame(city=pd.Categorical([7]), size=[3.0]),
            "column city holds text on one and numbers on two",
        ),
        (
            dense(1, 2),
            "the files of one name their columns, those of two do not",
        ),
    ],
)
def test_tables_must_have_the_same_columns(two: Dataset, reason: str) -> None:
    assert refusal(one=frame(city=pd.Categorical(["a"]), size=[1.0]), two=two) == reason


def test_weights_queries_and_labels_must_be_on_all_hosts() -> None:
    plain = dense(2, 3)
    weighted = dense(2, 3, weight=np.ones(2, np.float32))
    ranked = dense(2, 3, qid=np.zeros(2, np.uint32))
    double = Dataset(plain.features, np.zeros((2, 2), np.float32))
    weights = "the rows of one have weights, those of two have none"
    assert refusal(one=weighted, two=plain) == weights
    assert refusal(two=plain, one=weighted) == weights
    assert (
        refusal(one=ranked, two=plain) == "the rows of one have query ids, those of two have none"
    )
    assert refusal(one=plain, two=double) == "two has 2 labels in each row, one has 1"


@given(
    queries=st.lists(st.integers(1, 5), min_size=1, max_size=12),
    parts=st.integers(1, 5),
    ranked=st.booleans(),
)
def test_parts_are_all_rows_in_order_with_whole_queries(
    queries: list[int], parts: int, ranked: bool
) -> None:
    qid = np.repeat(np.arange(len(queries), dtype=np.uint32), queries)
    data = dense(len(qid), 2, qid=qid if ranked else None)
    if (len(queries) if ranked else len(qid)) < parts:
        with pytest.raises(UserError, match="for"):
            part(data, 0, parts, "train")
        return
    shares = [part(data, index, parts, "train") for index in range(parts)]
    assert all(share.rows for share in shares)
    whole = concatenate(shares)
    np.testing.assert_array_equal(whole.features, data.features)
    np.testing.assert_array_equal(whole.label, data.label)
    if ranked:
        owners = [set(share.qid.tolist()) for share in shares if share.qid is not None]
        assert sum(map(len, owners)) == len(queries)


def test_too_few_rows_for_the_workers_are_refused() -> None:
    with pytest.raises(UserError, match="the channel validation has 1 row for 2 workers"):
        part(dense(1, 2), 0, 2, "validation")
    ranked = dense(4, 2, qid=np.zeros(4, np.uint32))
    with pytest.raises(UserError, match="the channel train has 1 query for 2 workers"):
        part(ranked, 0, 2, "train")


def test_copies_are_found_whatever_holds_them() -> None:
    table = frame(city=pd.Categorical(["a", "b"]), size=[1.0, 2.0])
    for one, other in ((dense(3, 2), dense(3, 1)), (libsvm(2), dense(2, 2)), (table, dense(2, 2))):
        shares = {"one": describe(one), "two": describe(one), "three": describe(other)}
        assert copied(shares) == ["one", "two"]
    assert copied({"one": describe(table)}) == []
