from __future__ import annotations

import base64
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mme_local.control.listing import Listing
from mme_local.errors import ApiError


@dataclass(frozen=True)
class Row:
    name: str
    created: float
    status: str = "InService"


LISTING = Listing[Row](
    name=lambda row: row.name, created=lambda row: row.created, status=lambda row: row.status
)
ROWS = st.dictionaries(st.text("abc-", min_size=1, max_size=4), st.integers(0, 5), max_size=30).map(
    lambda found: [Row(name, created) for name, created in found.items()]
)


@given(
    rows=ROWS,
    size=st.integers(1, 7),
    by=st.sampled_from(["Name", "CreationTime", "Status"]),
    order=st.sampled_from(["Ascending", "Descending"]),
)
def test_pages_have_each_row_once_and_in_order(
    rows: list[Row], size: int, by: str, order: str
) -> None:
    request = {"MaxResults": size, "SortBy": by, "SortOrder": order}
    found, token = LISTING.page(rows, request)
    while token:
        page, token = LISTING.page(rows, {**request, "NextToken": token})
        assert 0 < len(page) <= size
        found = found + page
    keys = {"Name": lambda r: r.name, "CreationTime": lambda r: (r.created, r.name)}
    expected = sorted(rows, key=keys.get(by, keys["Name"]), reverse=order == "Descending")
    assert found == expected


@given(rows=ROWS.filter(lambda rows: len(rows) > 3))
def test_a_row_that_goes_between_two_pages_takes_no_other_with_it(rows: list[Row]) -> None:
    request = {"MaxResults": 2, "SortBy": "Name", "SortOrder": "Ascending"}
    first, token = LISTING.page(rows, request)
    left = [row for row in rows if row not in first]
    rest, _ = LISTING.page(left, {"SortBy": "Name", "SortOrder": "Ascending", "NextToken": token})
    assert rest == sorted(left, key=lambda row: row.name)[:10]


def names(rows: list[Row], **request: object) -> list[str]:
    return [row.name for row in LISTING.page(rows, request)[0]]


def test_filters() -> None:
    rows = [Row("a", 1.0004), Row("b", 2, "Failed"), Row("ab", 3)]
    assert names(rows) == ["ab", "b", "a"]
    assert names(rows, NameContains="a") == ["ab", "a"]
    assert names(rows, StatusEquals="Failed") == ["b"]
    assert names(rows, CreationTimeAfter=2.0) == ["ab", "b"]
    assert names(rows, CreationTimeBefore=1.0) == ["a"]
    assert names(rows, LastModifiedTimeAfter=9.0) == ["ab", "b", "a"]


def test_there_are_ten_on_a_page() -> None:
    page, token = LISTING.page([Row(str(number), number) for number in range(11)], {})
    assert len(page) == 10
    assert token


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "ää",
        "",
        base64.b64encode(b"[1]").decode(),
        base64.b64encode(b'["a",1]').decode(),
    ],
)
def test_a_token_of_elsewhere_is_refused(token: str) -> None:
    rows = [Row("a", 1), Row("b", 2)]
    if not token:  # AWS takes it for none
        assert names(rows, NextToken=token) == ["b", "a"]
        return
    with pytest.raises(ApiError, match="Invalid NextToken"):
        LISTING.page(rows, {"NextToken": token})
