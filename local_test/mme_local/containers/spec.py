"""What a container is to be, and what can be asked of one that runs, whatever runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol


@dataclass(frozen=True)
class ContainerSpec:
    """A container as SageMaker starts it: ``docker run IMAGE serve|train``."""

    name: str
    """Unique while it runs, of lower-case letters, digits and dashes."""
    image: str
    """As the client named it; `images` says what that runs as."""
    command: Literal["serve", "train"]
    environment: Mapping[str, str]
    """Besides what the runtime itself sets."""
    ml: Path
    """Directory on this machine that is the container's ``/opt/ml``."""
    memory: int
    """Bytes that it may take."""
    cpus: int
    """Virtual CPUs."""
    write_line: Callable[[str], None] = field(default=lambda _: None, compare=False)
    """Takes each line of its output, on any thread."""


@dataclass(frozen=True)
class Usage:
    """What a container takes now."""

    memory: int
    """Bytes, without what can be taken back."""
    cpu: float
    """CPUs in use since the last look: 1.5 is one and a half."""


class Container(Protocol):
    """A container that was started."""

    url: str
    """Of its HTTP server, as ``http://127.0.0.1:40123``; empty for training."""
    ml: str
    """What the container itself calls its ``/opt/ml``: that, or in embedded mode the directory."""

    async def wait(self) -> int:
        """Wait for its end; return the exit status, 128 and the signal if it was ended by one."""

    async def stop(self, within: float) -> int:
        """Send SIGTERM, and SIGKILL after `within` seconds; return the exit status."""

    async def usage(self) -> Usage | None:
        """What it takes; None when it has ended."""

    async def remove(self) -> None:
        """End it, if it runs, and take away what it leaves, but for its ``/opt/ml``."""


class Runtime(Protocol):
    """Starts containers."""

    name: str
    """``docker`` or ``embedded``."""

    async def labels(self, image: str) -> Mapping[str, str] | None:
        """The labels of the image that `image` runs as; None when there is none.

        Raises:
            LocalError: there is no answer, and why.
        """

    async def start(self, spec: ContainerSpec) -> Container:
        """Start a container; it is not ready yet.

        Raises:
            LocalError: it cannot be started, and why.
        """

    async def close(self) -> None:
        """Remove every container that is left."""
