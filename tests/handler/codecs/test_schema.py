"""The columns of a model: names, categories, size."""

from __future__ import annotations

import pytest

from mme_handler.codecs import Schema
from mme_handler.codecs.schema import MAX_CELLS
from mme_handler.errors import BadRequestError, RequestTooLargeError

HOUSE = Schema(3, ("AREA", "ROOMS", "AGE"), categories={1: {"few": 0, "many": 1}, 2: {}})


def test_names_in_order_need_no_reordering():
    assert HOUSE.order(["AREA", "ROOMS", "AGE"]) is None


def test_names_are_put_in_order():
    assert HOUSE.order(["AGE", "AREA", "ROOMS"]) == [1, 2, 0]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["AREA", "ROOMS"], "missing: 'AGE'"),
        (["AREA", "ROOMS", "AGE", "PRICE"], "unknown: 'PRICE'"),
        (["AREA", "ROOMS", "AGE", "AGE"], "doubled: 'AGE'"),
        (["area", "ROOMS", "ROOMS"], "unknown: 'area'; missing: 'AREA', 'AGE'; doubled: 'ROOMS'"),
        ([], "missing: 'AREA', 'ROOMS', 'AGE'"),
        (["x" * 999], f"unknown: '{'x' * 60}...'; missing: 'AREA', 'ROOMS', 'AGE'"),
    ],
)
def test_names_that_do_not_fit_are_listed(names, expected):
    with pytest.raises(BadRequestError) as caught:
        HOUSE.order(names)
    assert str(caught.value) == f"the feature names are not the model's: {expected}"


def test_of_many_wrong_names_only_some_are_listed():
    with pytest.raises(BadRequestError, match="and 90 more"):
        Schema(100, tuple(f"n{i}" for i in range(100))).order([])


def test_a_model_without_names_takes_any_or_xgboosts_own():
    plain = Schema(2)
    assert plain.order(["a", "b"]) is None
    assert plain.order(["f0", "f1"]) is None
    assert plain.order(["f1", "f0"]) == [1, 0]
    with pytest.raises(BadRequestError, match="missing: 'f0', 'f1'"):
        plain.order(["a", "b", "c"])


def test_categories():
    assert HOUSE.code(0, "few") is None
    assert HOUSE.code(1, "many") == 1.0
    with pytest.raises(BadRequestError, match=r"'ROOMS': 'some' is not a category .*'few', 'many'"):
        HOUSE.code(1, "some")
    with pytest.raises(BadRequestError, match=r"'AGE': 'x' .* takes codes, not texts"):
        HOUSE.code(2, "x")


def test_size():
    HOUSE.check_size(MAX_CELLS // 3)
    with pytest.raises(RequestTooLargeError, match="send at most 11,184,810 rows"):
        HOUSE.check_size(MAX_CELLS // 3 + 1)
