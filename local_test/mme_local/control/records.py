"""The resources that something works on behind the API, and what the API shows of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

EndpointStatus = Literal[
    "Creating", "InService", "Updating", "SystemUpdating", "RollingBack", "Deleting", "Failed"
]
JobStatus = Literal["InProgress", "Completed", "Failed", "Stopping", "Stopped"]


def _nobody() -> None:
    """Is told of a change that nobody wants to know of."""


@dataclass(frozen=True)
class Resource:
    """A model or an endpoint configuration: a request that is kept."""

    name: str
    arn: str
    request: Mapping[str, Any]
    """Of its creation, checked."""
    created: float = field(default_factory=time.time)


@dataclass
class TrainingJob:
    """A training job: the request it was created by, and its course, which the runner moves."""

    name: str
    arn: str
    request: Mapping[str, Any]
    """CreateTrainingJob's, checked."""
    created: float = field(default_factory=time.time)
    status: JobStatus = "InProgress"
    secondary: str = "Starting"
    """SecondaryStatus: Starting, Downloading, Training, Uploading, Completed, Failed, Stopped …"""
    transitions: list[dict[str, Any]] = field(default_factory=list)
    """SecondaryStatusTransitions, shaped as DescribeTrainingJob has them."""
    failure_reason: str | None = None
    artifacts: str | None = None
    """S3 URI of ``model.tar.gz``."""
    started: float | None = None
    ended: float | None = None
    metrics: list[dict[str, Any]] = field(default_factory=list)
    """FinalMetricDataList."""
    ended_event: asyncio.Event = field(default_factory=asyncio.Event)
    modified: float = field(default_factory=time.time)
    changed: Callable[[], None] = field(default=_nobody, repr=False, compare=False)
    """Called after `update`; the control plane keeps the record by it."""

    def update(self, **fields: Any) -> None:
        """Set fields, as ``update(status="Failed", failure_reason=...)``, and the time of that."""
        for name, value in fields.items():
            setattr(self, name, value)
        self.modified = time.time()
        self.changed()

    def shown(self) -> dict[str, Any]:
        """What the page shows of it."""
        seconds = (self.ended or time.time()) - self.started if self.started else 0.0
        return {
            "name": self.name,
            "status": self.status,
            "secondary": self.secondary,
            "failure_reason": self.failure_reason,
            "metrics": {each["MetricName"]: each["Value"] for each in self.metrics},
            "seconds": round(seconds, 1),
        }


@dataclass(frozen=True)
class ResolvedVariant:
    """A production variant with its model looked up."""

    name: str
    model_name: str
    image: str
    environment: Mapping[str, str]
    model_data_url: str
    """S3 URI: of a prefix, ending in ``/``, if `multi_model`; else of one archive."""
    multi_model: bool
    cache_models: bool
    """False for ``ModelCacheSetting=Disabled``."""
    instance_type: str
    initial_count: int
    weight: float
    startup_seconds: float | None
    """ContainerStartupHealthCheckTimeoutInSeconds."""
    role_arn: str


@dataclass(frozen=True)
class ResolvedConfig:
    """An endpoint configuration with its models looked up, as it was when it was used."""

    name: str
    variants: tuple[ResolvedVariant, ...]


@dataclass
class VariantState:
    """What DescribeEndpoint shows of a variant; the platform moves it."""

    name: str
    current_count: int
    desired_count: int
    current_weight: float
    desired_weight: float


@dataclass
class EndpointRecord:
    """An endpoint and its course, which the platform moves."""

    name: str
    arn: str
    config: ResolvedConfig
    created: float = field(default_factory=time.time)
    modified: float = field(default_factory=time.time)
    status: EndpointStatus = "Creating"
    failure_reason: str | None = None
    variants: dict[str, VariantState] = field(default_factory=dict)
    changed: Callable[[], None] = field(default=_nobody, repr=False, compare=False)
    """Called after `move`; the control plane keeps the record by it."""

    def move(self, status: EndpointStatus, failure_reason: str | None = None) -> None:
        """Set the status, and the time at which that was."""
        self.status, self.failure_reason = status, failure_reason
        self.modified = time.time()
        self.changed()


@dataclass(frozen=True)
class Invocation:
    """InvokeEndpoint."""

    endpoint: str
    body: bytes
    headers: Mapping[str, str]
    """Lower-case: ``content-type``, ``accept``, ``x-amzn-sagemaker-*``, as the client sent them."""
    target_model: str | None = None
    target_variant: str | None = None
    caller_access_key: str | None = None
    """The access key that the request was signed with, to look up its policies."""


@dataclass(frozen=True)
class InvocationAnswer:
    """What the container answered, with 2xx."""

    body: bytes
    content_type: str
    variant: str
    headers: Mapping[str, str] = field(default_factory=dict)
    """Lower-case ``x-amzn-sagemaker-*`` that go to the client."""
