"""The Docker engine, and the images in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import docker
from docker.errors import DockerException, ImageNotFound

from mme_hosting.errors import HostingError

_SECONDS: Final = 600  # an engine that looks for layers in a registry may be silent for long


@dataclass(frozen=True, slots=True)
class Image:
    """An image of the engine."""

    name: str
    id: str
    """Digest of its configuration, or of its manifest where the engine keeps that."""
    platform: str
    size: int
    variant: str
    """``cpu`` or ``gpu``."""
    labels: dict[str, str]
    media_type: str | None
    """Of its manifest; None with an engine that makes one only for a push, of Docker's own type."""


def connect() -> Any:
    """The Docker engine that ``DOCKER_HOST`` names, or this machine's.

    Raises:
        HostingError: it does not answer.
    """
    try:
        engine = docker.from_env(timeout=_SECONDS)
        engine.ping()
    except DockerException as error:
        raise HostingError(
            f"no Docker engine answers ({error}): start one, or set DOCKER_HOST"
        ) from None
    return engine


def find(engine: Any, name: str) -> Image | None:
    """The image of this name; None if the engine has none.

    Raises:
        HostingError: the engine cannot say.
    """
    try:
        found = engine.images.get(name)
    except ImageNotFound:
        return None
    except DockerException as error:
        raise HostingError(f"the Docker engine cannot look for the image {name}: {error}") from None
    attributes = found.attrs
    config = attributes.get("Config") or {}
    return Image(
        name=name,
        id=found.id,
        platform=f"{attributes.get('Os')}/{attributes.get('Architecture')}",
        size=attributes.get("Size", 0),
        variant=_variant(config.get("Env") or []),
        labels=config.get("Labels") or {},
        media_type=(attributes.get("Descriptor") or {}).get("mediaType"),
    )


def _variant(environment: list[str]) -> str:
    """What the image asks NVIDIA's runtime for tells the variants apart."""
    return (
        "gpu" if any(each.startswith("NVIDIA_VISIBLE_DEVICES=") for each in environment) else "cpu"
    )
