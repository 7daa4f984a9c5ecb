"""Lists as AWS gives them: filtered, sorted, in pages."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Generic, TypeVar

import orjson

from mme_local.errors import ApiError, validation_error

T = TypeVar("T")

_PAGE: Final = 10  # AWS's default of MaxResults
_MILLISECONDS: Final = 3  # a time that was shown must match itself


class Listing(Generic[T]):
    """A kind of resource that can be listed.

    Args:
        name: of a resource.
        created: when it was made, in seconds since 1970.
        modified: when it was last changed; None where AWS has no filter for that.
        status: what ``StatusEquals`` compares; None where there is none.
        order: ``Ascending`` or ``Descending``, when the request does not say.
    """

    def __init__(
        self,
        name: Callable[[T], Any],
        created: Callable[[T], Any],
        modified: Callable[[T], Any] | None = None,
        status: Callable[[T], Any] | None = None,
        order: str = "Descending",
    ) -> None:
        self._keys = {
            "Name": name,
            "CreationTime": created,
            "LastModifiedTime": modified,
            "Status": status,
        }
        self._name = name
        self._order = order

    def page(self, rows: Iterable[T], request: Mapping[str, Any]) -> tuple[list[T], str | None]:
        """The resources of one page, and the token of the next, if there is one.

        Raises:
            ApiError: the token is not one of ours.
        """
        key = self._keys[request.get("SortBy", "CreationTime")] or self._name
        reverse = request.get("SortOrder", self._order) == "Descending"

        def place(row: T) -> tuple[Any, str]:
            return key(row), self._name(row)

        found = sorted(
            (row for row in rows if self._fits(row, request)), key=place, reverse=reverse
        )
        if token := request.get("NextToken"):
            last = _read(token)
            found = [row for row in found if _beyond(place(row), last, reverse)]
        size = request.get("MaxResults", _PAGE)
        page = found[:size]
        return page, _token(place(page[-1])) if len(found) > size else None

    def _fits(self, row: T, request: Mapping[str, Any]) -> bool:
        if request.get("NameContains", "") not in self._name(row):
            return False
        status = self._keys["Status"]
        if status is not None and request.get("StatusEquals", status(row)) != status(row):
            return False
        return all(
            request.get(f"{what}After", value) <= value <= request.get(f"{what}Before", value)
            for what, value in self._times(row)
        )

    def _times(self, row: T) -> Iterable[tuple[str, float]]:
        for what in ("CreationTime", "LastModifiedTime"):
            if key := self._keys[what]:
                yield what, round(key(row), _MILLISECONDS)


def _beyond(place: tuple[Any, str], last: tuple[Any, str], reverse: bool) -> bool:
    try:
        return place < last if reverse else place > last
    except TypeError:  # of a list that was sorted by something else
        raise _bad_token() from None


def _token(place: tuple[Any, str]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode()


def _read(token: str) -> tuple[Any, str]:
    try:
        value, name = orjson.loads(base64.urlsafe_b64decode(token))
    except (binascii.Error, ValueError, TypeError):
        raise _bad_token() from None
    return value, name


def _bad_token() -> ApiError:
    return validation_error("Invalid NextToken: take it from the answer before, with its filters.")
