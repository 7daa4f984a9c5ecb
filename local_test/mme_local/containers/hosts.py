"""The hosts of one training job, and how their names lead to each other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from mme_local.containers.spec import Container, ContainerSpec, Runtime


async def _nothing() -> None:
    """Nothing is left."""


@dataclass(frozen=True)
class Place:
    """Where a container of a job with several hosts runs."""

    host: str
    network: str | None = None
    """Docker network of the job's own, in which `host` is its name."""


@dataclass(frozen=True)
class Hosts:
    """The names under which the containers of a job reach each other, for ``resourceconfig.json``.

    SageMaker's are ``algo-1``, ``algo-2`` ..; without Docker there is nobody to resolve these, and
    several hosts are called by addresses of the loopback network that are the job's own.
    """

    names: tuple[str, ...]
    interface: str
    """Network interface on which they do."""
    network: str | None = None
    """Docker network of their own."""
    close: Callable[[], Awaitable[None]] = field(default=_nothing, compare=False)
    """Takes away what was made for them, once their containers are removed."""

    @property
    def places(self) -> tuple[Place, ...]:
        """Where their containers run, in the order of `names`."""
        return tuple(Place(name, self.network) for name in self.names)


class JobRuntime(Runtime, Protocol):
    """A `Runtime` that can run jobs of several hosts."""

    async def hosts(self, job: str, count: int) -> Hosts:
        """Make what `count` hosts of a job need to find each other.

        Args:
            job: unique while it runs, of lower-case letters, digits and dashes.
            count: of its hosts.

        Raises:
            LocalError: it cannot be made, and why.
        """

    async def start(self, spec: ContainerSpec, place: Place | None = None) -> Container:
        """As `Runtime.start`, at a place of a job."""


def names(count: int) -> tuple[str, ...]:
    """SageMaker's names for the hosts of a job."""
    return tuple(f"algo-{number}" for number in range(1, count + 1))
