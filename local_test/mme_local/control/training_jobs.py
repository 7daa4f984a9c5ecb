"""CreateTrainingJob, DescribeTrainingJob, ListTrainingJobs, StopTrainingJob.

A job's course is moved by what runs it; here it is only begun and, when asked, stopped.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from mme_local.control import arns
from mme_local.control.backends import Jobs as Backend
from mme_local.control.background import Background
from mme_local.control.listing import Listing
from mme_local.control.objects import Objects
from mme_local.control.records import TrainingJob
from mme_local.control.roles import Roles
from mme_local.control.store import Table
from mme_local.control.tags import Tags
from mme_local.errors import ApiError, LocalError, validation_error

_LOG: Final = logging.getLogger(__name__)
_ENDED: Final = ("Completed", "Failed", "Stopped")
_LONGEST_REASON: Final = 1024
_MAX_RUNTIME: Final = {"MaxRuntimeInSeconds": 86400}  # AWS's default: a day
_NOT_HERE: Final = ("ServerlessJobConfig", "SessionChainingConfig", "ModelPackageConfig")
_FALSE_BY_DEFAULT: Final = (
    "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining",
)


class TrainingJobs:
    """Training jobs as the API has them; `backend` runs them."""

    def __init__(
        self,
        table: Table[TrainingJob],
        names: arns.Arns,
        tags: Tags,
        roles: Roles,
        objects: Objects,
        backend: Backend,
        background: Background,
    ) -> None:
        self._table = table
        self._names = names
        self._tags = tags
        self._roles = roles
        self._objects = objects
        self._backend = backend
        self._background = background

    async def create(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """CreateTrainingJob."""
        name = request["TrainingJobName"]
        self._check_new(name)
        _check_supported(request)
        await self._roles.check(request["RoleArn"])
        for uri in _prefixes(request):
            await self._objects.check_prefix(uri, request["RoleArn"])
        self._check_new(name)  # another request may have made it meanwhile
        job = TrainingJob(name, self._names.of(arns.TRAINING_JOB, name), request)
        job.changed = partial(self._table.put, name, job)
        self._table.put(name, job)
        self._tags.add(job.arn, request.get("Tags", []))
        try:
            await self._backend.start(job)
        except Exception as error:
            if not isinstance(error, LocalError):
                _LOG.exception("training job %s cannot be started", name)
            _fail(job, f"InternalServerError: {error}")
        self._background.start(self._keep_at_end(job))
        return {"TrainingJobArn": job.arn}

    async def describe(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DescribeTrainingJob."""
        job = self._get(request["TrainingJobName"])
        seconds = _seconds(job)
        return {
            **dict.fromkeys(_FALSE_BY_DEFAULT, False),
            "StoppingCondition": _MAX_RUNTIME,
            **job.request,
            **_course(job),
            "ModelArtifacts": {"S3ModelArtifacts": job.artifacts or _configured_artifacts(job)},
            "SecondaryStatus": job.secondary,
            "SecondaryStatusTransitions": job.transitions,
            "FailureReason": job.failure_reason and job.failure_reason[:_LONGEST_REASON],
            "FinalMetricDataList": job.metrics or None,
            "TrainingStartTime": job.started,
            "TrainingTimeInSeconds": seconds,
            "BillableTimeInSeconds": seconds,
        }

    async def list(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListTrainingJobs; no job here has a warm pool or a training plan to filter by."""
        none = {"WarmPoolStatusEquals", "TrainingPlanArnEquals"} & set(request)
        page, token = _LISTING.page(() if none else self._table, request)
        summaries = [{**_course(job), "SecondaryStatus": job.secondary} for job in page]
        return {"TrainingJobSummaries": summaries, "NextToken": token}

    async def stop(self, request: Mapping[str, Any]) -> None:
        """StopTrainingJob; the job is ``Stopping`` until its container has ended."""
        job = self._get(request["TrainingJobName"])
        if job.status in _ENDED:
            raise validation_error(
                f"The request was rejected because the training job is in status {job.status}."
            )
        if job.status != "Stopping":
            job.update(status="Stopping", secondary="Stopping")
            self._background.start(self._stop(job))

    def restore(self) -> None:
        """End what was under way when the local SageMaker was."""
        for job in self._table:
            job.changed = partial(self._table.put, job.name, job)
            if job.status not in _ENDED:
                _fail(job, "InternalServerError: the local SageMaker ended while the job ran.")

    async def _stop(self, job: TrainingJob) -> None:
        try:
            await self._backend.stop(job.name)
        except Exception:
            _LOG.exception("training job %s cannot be stopped", job.name)

    async def _keep_at_end(self, job: TrainingJob) -> None:
        await job.ended_event.wait()
        self._table.put(job.name, job)

    def _get(self, name: str) -> TrainingJob:
        if job := self._table.get(name):
            return job
        raise validation_error("Requested resource not found.")

    def _check_new(self, name: str) -> None:
        if job := self._table.get(name):
            raise ApiError(
                "ResourceInUse",
                "Training job names must be unique within an AWS account and region, and a "
                f"training job with this name already exists ({job.arn})",
            )


def _fail(job: TrainingJob, reason: str) -> None:
    job.update(status="Failed", secondary="Failed", failure_reason=reason, ended=time.time())
    job.ended_event.set()


def _check_supported(request: Mapping[str, Any]) -> None:
    for member in _NOT_HERE:
        if member in request:
            raise validation_error(f"{member} is not supported by the local SageMaker.")
    if "TrainingImage" not in request.get("AlgorithmSpecification", {}):
        raise validation_error(
            "AlgorithmSpecification must give TrainingImage: algorithms by name are not supported "
            "by the local SageMaker."
        )
    resources = request.get("ResourceConfig", {})
    for member in ("InstanceType", "InstanceCount"):
        if not resources.get(member):
            raise validation_error(
                f"ResourceConfig must give {member}: instance groups and training plans are not "
                "supported by the local SageMaker."
            )
    channels = [channel["ChannelName"] for channel in request.get("InputDataConfig", [])]
    if twice := {name for name in channels if channels.count(name) > 1}:
        raise validation_error(f"Channel names must be unique: {twice.pop()} is there twice.")


def _prefixes(request: Mapping[str, Any]) -> list[str]:
    """The S3 prefixes of the channels; manifests name their objects themselves."""
    sources = [
        channel["DataSource"].get("S3DataSource") for channel in request.get("InputDataConfig", [])
    ]
    return [one["S3Uri"] for one in sources if one and one["S3DataType"] == "S3Prefix"]


def _configured_artifacts(job: TrainingJob) -> str:
    path = job.request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
    return f"{path}/{job.name}/output/model.tar.gz"


def _seconds(job: TrainingJob) -> int | None:
    if job.started is None or job.ended is None:
        return None
    return max(1, round(job.ended - job.started))


def _modified(job: TrainingJob) -> float:
    return max(job.modified, job.started or 0, job.ended or 0)


def _course(job: TrainingJob) -> dict[str, Any]:
    return {
        "TrainingJobName": job.name,
        "TrainingJobArn": job.arn,
        "TrainingJobStatus": job.status,
        "CreationTime": job.created,
        "TrainingEndTime": job.ended,
        "LastModifiedTime": _modified(job),
    }


_LISTING: Final = Listing[TrainingJob](
    name=lambda job: job.name,
    created=lambda job: job.created,
    modified=_modified,
    status=lambda job: job.status,
    order="Ascending",
)
