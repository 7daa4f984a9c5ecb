"""What the control plane needs behind it: something that trains, and something that hosts."""

from __future__ import annotations

from typing import Protocol

from mme_local.control.records import EndpointRecord, ResolvedConfig, TrainingJob


class Jobs(Protocol):
    """Runs training jobs."""

    async def start(self, job: TrainingJob) -> None:
        """Start a job and return at once; its course is seen in the record."""

    async def stop(self, name: str) -> None:
        """SIGTERM, and SIGKILL after 120 seconds, as StopTrainingJob says."""


class Endpoints(Protocol):
    """Hosts endpoints."""

    async def create(self, endpoint: EndpointRecord) -> None:
        """Start an endpoint's instances and return at once; moves it on from ``Creating``."""

    async def update(self, endpoint: EndpointRecord, config: ResolvedConfig) -> None:
        """Replace what serves by `config`, and set that as the record's when it does.

        Returns at once; the endpoint is ``Updating`` already, and is moved on from that.
        """

    async def scale(
        self, endpoint: EndpointRecord, variant: str, count: int | None, weight: float | None
    ) -> None:
        """Change a variant's instances or share of the traffic; moves the endpoint meanwhile."""

    async def delete(self, name: str) -> None:
        """End an endpoint; it is gone from the API when this returns."""
