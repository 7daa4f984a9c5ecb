"""What is there: the archives below an endpoint's prefix, by the names that stand for them."""

from __future__ import annotations

import os.path
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from mme_hosting.context import Context
from mme_hosting.models.aliases import read
from mme_hosting.models.table import Alias
from mme_training.archives.keys import SUFFIX, Version, parse


@dataclass(frozen=True, slots=True)
class Archive:
    """One archive in S3."""

    key: str
    """Relative to the endpoint's prefix: what a request names as its target model."""
    size: int
    """Bytes."""
    modified: datetime

    @property
    def version(self) -> Version | None:
        """What its key says, if it is written as keys of versions are."""
        return parse(self.key)


@dataclass(frozen=True, slots=True)
class Model:
    """One model; an archive that no name stands for is a model of its own, called by its key."""

    name: str
    key: str
    changed: datetime
    """When the key became current; without a name, when the archive was written."""
    versions: tuple[Archive, ...]
    """The newest first."""

    @property
    def archive(self) -> Archive | None:
        """The current archive; None if it is gone."""
        return next((each for each in self.versions if each.key == self.key), None)


def archives(context: Context, start: str = "") -> Iterator[Archive]:
    """Yield the archives whose keys, relative to the prefix, begin with `start`.

    Raises:
        HostingError: they cannot be listed.
    """
    root = context.models
    pages = context.aws.pages(
        "s3", "ListObjectsV2", str(root), Bucket=root.bucket, Prefix=root.key + start
    )
    for page in pages:
        for each in page.get("Contents", []):
            if each["Key"].endswith(SUFFIX):
                key = each["Key"].removeprefix(root.key)
                yield Archive(key, each["Size"], each["LastModified"])


def versions(context: Context, names: Collection[str]) -> dict[str, list[Archive]]:
    """The versions that there are of each of these names, the newest first.

    Raises:
        HostingError: they cannot be listed.
    """
    found: dict[str, list[Archive]] = {name: [] for name in names}
    if not found:
        return {}
    # By characters: keys have no directories.
    start = os.path.commonprefix([f"{name}/" for name in names])  # noqa: RUF071
    for archive in archives(context, start):
        if (name := _owner(archive)) in found:
            found[name].append(archive)
    return {name: _newest_first(each) for name, each in found.items()}


def models(context: Context, pattern: str = "*") -> list[Model]:
    """All models whose names match, in their order.

    Args:
        context: the endpoint.
        pattern: as a shell has it, but that ``*`` stands for slashes, too.

    Raises:
        HostingError: they cannot be listed.
    """
    table = read(context).table
    own: dict[str, list[Archive]] = defaultdict(list)
    found = []
    for archive in archives(context):
        if (name := _owner(archive)) in table.models:
            own[name].append(archive)
        else:
            found.append(Model(archive.key, archive.key, archive.modified, (archive,)))
    for name, alias in table.models.items():
        found.append(_named(name, alias, own[name]))
    return sorted(
        (model for model in found if fnmatchcase(model.name, pattern)), key=lambda each: each.name
    )


def _named(name: str, alias: Alias, own: list[Archive]) -> Model:
    return Model(name, alias.current, alias.changed, tuple(_newest_first(own)))


def _owner(archive: Archive) -> str:
    """The name whose version it is; empty if of none."""
    version = archive.version
    return version.name if version and version.style == "digest" else ""


def _newest_first(found: list[Archive]) -> list[Archive]:
    def order(archive: Archive) -> tuple[int, str]:
        return (archive.version.number if archive.version else 0, archive.key)

    return sorted(found, key=order, reverse=True)
