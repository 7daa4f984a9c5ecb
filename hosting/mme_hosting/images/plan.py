"""What a push will do, found out before it does anything."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from mme_hosting.errors import HostingError
from mme_hosting.images import checks, source_tree
from mme_hosting.images.engine import Image, find
from mme_hosting.images.registry import DOCKER_MANIFEST, Manifest
from mme_hosting.images.target import Target

Action = Literal["push", "replace", "present"]

BUILT: Final = {"xgboost-mme:cpu": "make image", "xgboost-mme:gpu": "make image-gpu"}
"""The names that the images are built under, and what builds them."""

_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, slots=True)
class Step:
    """One image and its tag; `found` is what the tag leads to now."""

    image: Image
    tag: str
    action: Action
    found: Manifest | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A push of one or both variants."""

    target: Target
    steps: tuple[Step, ...]
    missing: tuple[str, ...]
    """Variants that are not built."""
    notes: tuple[str, ...]


def make_plan(
    engine: Any,
    target: Target,
    *,
    names: Sequence[str] = (),
    tag: str | None = None,
    allow_dirty: bool = False,
    directory: Path,
) -> Plan:
    """Check the images, and find out what of them is in the registry already.

    Args:
        engine: the Docker engine.
        target: where they go.
        names: of the images; by default `BUILT`, those of them that are built.
        tag: what stands before ``-cpu`` and ``-gpu``; by default the version that an image says.
        allow_dirty: whether a tree with changes is only noted.
        directory: where to look for the source tree.

    Raises:
        HostingError: an image is not there or not fit for SageMaker, or its tag leads to another
            image and cannot be moved.
    """
    found = {name: find(engine, name) for name in names or BUILT}
    present = [image for image in found.values() if image]
    missing = tuple(name for name, image in found.items() if image is None)
    if missing and (names or not present):
        raise HostingError(f"not built: {', '.join(missing)}: {_how(missing)}")
    for image in present:
        checks.check_image(image)
    notes = checks.check_tree(source_tree.find(directory.resolve()), present, allow_dirty)
    tags = _tags(present, tag)
    steps = tuple(_step(target, image, tags[image.name]) for image in present)
    return Plan(target, steps, missing, tuple(notes))


def _how(missing: Sequence[str]) -> str:
    commands = [BUILT[name] for name in missing if name in BUILT]
    return f"run {' or '.join(commands)}" if commands else "`docker images` lists those that are"


def _tags(present: Sequence[Image], tag: str | None) -> dict[str, str]:
    tags: dict[str, str] = {}
    for image in present:
        full = f"{tag or _version(image)}-{image.variant}"
        if not _TAG.fullmatch(full):
            raise HostingError(
                f"{full!r} cannot be a tag: letters, digits, '.', '_' and '-' can, at most 128"
            )
        if full in tags.values():
            raise HostingError(
                f"two images would both be {full}: push one at a time, each with a --tag"
            )
        tags[image.name] = full
    return tags


def _version(image: Image) -> str:
    version = image.labels.get(checks.VERSION, "unknown")
    if version == "unknown":
        raise HostingError(f"the image {image.name} does not say its version: give a --tag")
    return version


def _step(target: Target, image: Image, tag: str) -> Step:
    found = None if target.is_new else target.registry.manifest(target.name, tag)
    if found is None:
        return Step(image, tag, "push")
    same = image.id in (found.config, found.digest)
    if same and found.media_type == DOCKER_MANIFEST:
        return Step(image, tag, "present", found)
    if target.immutable:
        other = f"is of the type {found.media_type}" if same else "is another image"
        raise HostingError(
            f"{target}:{tag} exists and {other}, and the repository's tags cannot be moved, for "
            "endpoints may be deployed from them: raise the version and build again, or give "
            "another --tag"
        )
    return Step(image, tag, "replace", found)
