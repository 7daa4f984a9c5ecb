"""The archives that an endpoint is to serve: all by name and size, a sample of them as files."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mme_hosting.aws import Aws
from mme_hosting.context import Context
from mme_hosting.errors import HostingError
from mme_hosting.models.listing import models
from mme_training import s3
from mme_training.archives.keys import SUFFIX


@dataclass(frozen=True, slots=True)
class Packed:
    """One archive; `name` is its target model, `size` the bytes that are stored."""

    name: str
    size: int
    also: tuple[str, ...] = ()
    """What requests may call it besides: the model's name, and keys of its other versions."""


@dataclass(frozen=True, slots=True)
class Archives:
    """All archives of a place; `fetch` gives the file of one, and may write into a directory."""

    where: str
    all: tuple[Packed, ...]
    fetch: Callable[[Packed, Path], Path]


def in_directory(directory: Path) -> Archives:
    """The archives in a directory and below.

    Raises:
        HostingError: there are none.
    """
    if not directory.is_dir():
        raise HostingError(f"{directory} is no directory of archives, nor s3://bucket/prefix/")
    try:
        found = [
            Packed(path.relative_to(directory).as_posix(), path.stat().st_size)
            for path in sorted(directory.rglob(f"*{SUFFIX}"))
            if path.is_file()
        ]
    except OSError as error:
        raise HostingError(f"{directory} cannot be read: {error}") from None
    return _some(str(directory), found, lambda packed, _: directory / packed.name)


def in_s3(aws: Aws, place: s3.Place) -> Archives:
    """The archives below a prefix, as SageMaker finds them by target model.

    Raises:
        HostingError: there are none, or they cannot be listed.
    """
    prefix = place.below("")
    pages = aws.pages(
        "s3", "ListObjectsV2", f"the models at {prefix}", Bucket=prefix.bucket, Prefix=prefix.key
    )
    found = [
        Packed(each["Key"].removeprefix(prefix.key), each["Size"])
        for page in pages
        for each in page.get("Contents", [])
        if each["Key"].endswith(SUFFIX)
    ]

    return _some(str(prefix), found, _download(aws, prefix))


def of_endpoint(context: Context) -> Archives:
    """The archives that an endpoint's names stand for now, and those that no name stands for.

    Raises:
        HostingError: there are none, or they cannot be listed.
    """
    found = [
        Packed(model.key, model.archive.size, (model.name, *(each.key for each in model.versions)))
        for model in models(context)
        if model.archive
    ]
    return _some(str(context.models), found, _download(context.aws, context.models))


def sample(archives: Sequence[Packed], count: int, seed: int = 0) -> list[Packed]:
    """At most `count` archives, small and large: one, by chance, of each `count`-quantile of size.

    In the order of their sizes, and the same for the same archives and seed.
    """
    ordered = sorted(archives, key=lambda each: (each.size, each.name))
    if len(ordered) <= count:
        return ordered
    chance = random.Random(seed)  # noqa: S311 - no secret
    bounds = [len(ordered) * part // count for part in range(count + 1)]
    return [ordered[chance.randrange(low, high)] for low, high in itertools.pairwise(bounds)]


def _download(aws: Aws, prefix: s3.Place) -> Callable[[Packed, Path], Path]:
    def fetch(packed: Packed, scratch: Path) -> Path:
        target = scratch / "archive.tar.gz"
        s3.download(aws.client("s3"), prefix.below(packed.name), target)
        return target

    return fetch


def _some(where: str, found: list[Packed], fetch: Callable[[Packed, Path], Path]) -> Archives:
    if not found:
        raise HostingError(
            f"there are no archives ({SUFFIX}) at {where}: mme pack or mme train many makes them"
        )
    return Archives(where, tuple(found), fetch)
