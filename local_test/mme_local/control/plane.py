"""The control plane as one: its operations by name, what it keeps, and how it starts and ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from mme_local.aws.clients import Clients
from mme_local.containers.spec import Runtime
from mme_local.control.arns import Arns
from mme_local.control.backends import Endpoints as EndpointsBackend
from mme_local.control.backends import Jobs as JobsBackend
from mme_local.control.background import Background
from mme_local.control.endpoint_configs import EndpointConfigs
from mme_local.control.endpoints import Endpoints
from mme_local.control.models import Models
from mme_local.control.objects import Objects
from mme_local.control.records import TrainingJob
from mme_local.control.roles import Roles
from mme_local.control.store import Store
from mme_local.control.tags import Tags
from mme_local.control.training_jobs import TrainingJobs
from mme_local.events import Events

Operation = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any] | None]]

_READ_ONLY: Final = ("Describe", "List")
_DIRECTORY: Final = "sagemaker"


class ControlPlane:
    """SageMaker's API without HTTP.

    Args:
        clients: of IAM, S3 and Application Auto Scaling, which requests refer to.
        runtime: knows the images' labels.
        jobs: runs training jobs.
        endpoints: hosts endpoints.
        events: is told of every request that changes something.
        state: directory in which all this outlives the process; None forgets it.
    """

    def __init__(
        self,
        clients: Clients,
        runtime: Runtime,
        jobs: JobsBackend,
        endpoints: EndpointsBackend,
        events: Events,
        state: Path | None = None,
    ) -> None:
        names = Arns(clients.region)
        roles, objects = Roles(clients), Objects(clients)
        self._events = events
        self._background = Background()
        self._store = store = Store(None if state is None else state / _DIRECTORY)
        self._tags = tags = Tags(store, names)
        self._models = Models(store.models, names, tags, roles, objects, runtime)
        self._endpoints = Endpoints(
            store.endpoints, names, tags, endpoints, self._background, clients
        )
        self._configs = EndpointConfigs(
            store.configs, names, tags, self._models, self._endpoints.in_progress
        )
        self._jobs = TrainingJobs(store.jobs, names, tags, roles, objects, jobs, self._background)
        self.operations: Mapping[str, Operation] = self._operations()
        """What can be called, by AWS's name."""

    async def start(self) -> None:
        """Take up what the state directory keeps: endpoints are created again.

        Raises:
            LocalError: a file there cannot be read, and which.
        """
        self._store.load()
        self._jobs.restore()
        await self._endpoints.restore()

    @property
    def training_jobs(self) -> list[TrainingJob]:
        """All of them, those of earlier runs with the state too."""
        return list(self._store.jobs)

    async def call(self, operation: str, request: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Do an operation.

        Args:
            operation: one of `operations`.
            request: checked against its shape.

        Raises:
            ApiError: in AWS's words, as far as they are known.
        """
        answer = await self.operations[operation](request)
        if not operation.startswith(_READ_ONLY):
            self._events.emit("request", operation=operation, name=_subject(request))
        return answer

    async def close(self) -> None:
        """Let go of what goes on behind requests, and keep what there is now.

        The backends are ended after it, by their owner: that ends no endpoint for the next process.
        """
        self._store.close()
        await self._background.close()

    def _operations(self) -> dict[str, Operation]:
        return {
            "AddTags": self._tags.add_tags,
            "ListTags": self._tags.list_tags,
            "DeleteTags": self._tags.delete_tags,
            "CreateModel": self._models.create,
            "DescribeModel": self._models.describe,
            "ListModels": self._models.list,
            "DeleteModel": self._models.delete,
            "CreateEndpointConfig": self._configs.create,
            "DescribeEndpointConfig": self._configs.describe,
            "ListEndpointConfigs": self._configs.list,
            "DeleteEndpointConfig": self._configs.delete,
            "CreateEndpoint": partial(self._endpoints.create, configs=self._configs),
            "DescribeEndpoint": self._endpoints.describe,
            "ListEndpoints": self._endpoints.list,
            "UpdateEndpoint": partial(self._endpoints.update, configs=self._configs),
            "UpdateEndpointWeightsAndCapacities": self._endpoints.scale,
            "DeleteEndpoint": self._endpoints.delete,
            "CreateTrainingJob": self._jobs.create,
            "DescribeTrainingJob": self._jobs.describe,
            "ListTrainingJobs": self._jobs.list,
            "StopTrainingJob": self._jobs.stop,
        }


def _subject(request: Mapping[str, Any]) -> str:
    """The name of what a request is about: AWS has it first."""
    return str(next(iter(request.values()), ""))
