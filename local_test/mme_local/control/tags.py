"""AddTags, ListTags, DeleteTags."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from mme_local.control import arns
from mme_local.control.listing import Listing
from mme_local.control.store import Store
from mme_local.errors import ApiError, not_found, validation_error

_MOST: Final = 50
_PAGE: Final = 50
_LISTING: Final = Listing[tuple[str, str]](
    name=lambda tag: tag[0], created=lambda _: 0, order="Ascending"
)
_WORDS: Final = {
    arns.MODEL: "model",
    arns.ENDPOINT_CONFIG: "endpoint configuration",
    arns.ENDPOINT: "endpoint",
}


class Tags:
    """Tags of resources, by ARN."""

    def __init__(self, store: Store, names: arns.Arns) -> None:
        self._tags = store.tags
        self._names = names
        self._get: dict[str, Callable[[str], object]] = {
            arns.MODEL: store.models.get,
            arns.ENDPOINT_CONFIG: store.configs.get,
            arns.ENDPOINT: store.endpoints.get,
            arns.TRAINING_JOB: store.jobs.get,
        }

    def add(self, arn: str, tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
        """Add tags of a request, and return all there are now.

        Raises:
            ApiError: they would be more than a resource may have.
        """
        merged = dict(self._tags.get(self._key(arn)) or {})
        merged |= {tag["Key"]: tag["Value"] for tag in tags}
        if len(merged) > _MOST:
            raise validation_error(f"{arn} would have {len(merged)} tags: {_MOST} at most.")
        if merged:
            self._tags.put(self._key(arn), merged)
        return merged

    def forget(self, arn: str) -> None:
        """Forget the tags of a resource that is no more."""
        self._tags.remove(self._key(arn))

    async def add_tags(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """AddTags."""
        arn = self._existing(request["ResourceArn"])
        return {"Tags": _shown(self.add(arn, request["Tags"]).items())}

    async def list_tags(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListTags."""
        tags = self._tags.get(self._key(self._existing(request["ResourceArn"]))) or {}
        page, token = _LISTING.page(tags.items(), {"MaxResults": _PAGE, **request})
        return {"Tags": _shown(page), "NextToken": token}

    async def delete_tags(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DeleteTags."""
        key = self._key(self._existing(request["ResourceArn"]))
        tags = self._tags.get(key) or {}
        self._tags.put(key, {k: v for k, v in tags.items() if k not in request["TagKeys"]})
        return {}

    def _existing(self, arn: str) -> str:
        kind, name = self._names.read(arn) or ("", "")
        if kind not in self._get or not self._get[kind](name):
            raise _missing(kind, arn)
        return arn

    def _key(self, arn: str) -> str:
        kind, name = self._names.read(arn) or ("", arn)
        return f"{kind}.{name}"


def _missing(kind: str, arn: str) -> ApiError:
    if kind == arns.TRAINING_JOB:
        return validation_error("Requested resource not found.")
    return not_found(f'{_WORDS.get(kind, "resource")} "{arn}"')


def _shown(tags: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags]
