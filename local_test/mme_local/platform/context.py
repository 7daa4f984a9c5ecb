"""What every part of the platform needs of the others around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mme_local.aws.clients import Clients
from mme_local.containers.spec import Runtime
from mme_local.events import Events
from mme_local.settings import PlatformParameters
from mme_local.telemetry.log_streams import LogStreams
from mme_local.telemetry.metrics import Metrics


class InstanceType(Protocol):
    """What an instance has; `mme_local.containers.instance_types` knows them."""

    @property
    def vcpus(self) -> int:
        """CPUs."""

    @property
    def memory(self) -> int:
        """Bytes."""


@dataclass
class Context:
    """What endpoints run on, and whom they tell."""

    runtime: Runtime
    clients: Clients
    region: str
    run: Path
    """Directory for the file systems of instances."""
    instance_type: Callable[[str], InstanceType]
    """Finds an instance type by name."""
    metrics: Metrics
    logs: LogStreams
    events: Events = field(default_factory=Events)
    parameters: PlatformParameters = field(default_factory=PlatformParameters)
