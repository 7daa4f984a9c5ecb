"""Where images go: a repository of ECR, or of any other registry."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from docker import auth
from docker.errors import DockerException

from mme_hosting.errors import HostingError
from mme_hosting.images.ecr import Ecr, Repository
from mme_hosting.images.registry import Login, Registry

_WORD: Final = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_NAME: Final = re.compile(rf"{_WORD}(?:/{_WORD})*")


@dataclass(frozen=True, slots=True)
class Target:
    """A repository; `ecr` is None for that of another registry, which makes it when it is used."""

    registry: Registry
    name: str
    ecr: Ecr | None = None
    known: Repository | None = None
    """ECR's; None until it is created."""

    def __str__(self) -> str:
        return f"{self.registry.host}/{self.name}"

    @property
    def is_new(self) -> bool:
        """Whether it is still to be created."""
        return self.ecr is not None and self.known is None

    @property
    def immutable(self) -> bool:
        """Whether a tag that is there stays what it is."""
        return self.known is not None and self.known.immutable

    def create(self) -> None:
        """Create it if it is not there.

        Raises:
            HostingError: AWS does not.
        """
        if self.ecr and self.is_new:
            self.ecr.create(self.name)


def in_ecr(name: str, region: str | None = None) -> Target:
    """The repository `name` of ECR; nothing is created.

    Raises:
        HostingError: `name` cannot be one's, or AWS does not answer or allow it.
    """
    _check(name)
    ecr = Ecr(region)
    known = ecr.repository(name)
    return Target(ecr.registry(), name, ecr, known)


def in_registry(address: str, name: str) -> Target:
    """The repository `name` of another registry, with what ``docker login`` has left for it.

    Raises:
        HostingError: `address` is none, or `name` cannot be one's.
    """
    _check(name)
    registry = Registry(address)
    registry.login = _stored_login(registry.host)
    return Target(registry, name)


def _check(name: str) -> None:
    if ".amazonaws.com/" in name or not _NAME.fullmatch(name):
        raise HostingError(
            f"{name!r} cannot be the name of a repository: write it without the registry, in "
            "lower case, such as xgboost-mme or team/xgboost-mme"
        )


def _stored_login(host: str) -> Login | None:
    try:
        found = auth.load_config().resolve_authconfig(host) or {}
    except DockerException as error:
        raise HostingError(f"what docker login keeps for {host} cannot be read: {error}") from None
    given = {key.lower(): value for key, value in found.items()}
    if not given.get("username") or not given.get("password"):
        return None
    return Login(given["username"], given["password"])
