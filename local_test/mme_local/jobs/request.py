"""What CreateTrainingJob asks for, as the runner needs it."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mme_local.jobs.errors import JobError

DEFAULT_RUNTIME: Final = 24 * 3600
"""Seconds that a job may run that sets no MaxRuntimeInSeconds."""
DEFAULT_CHECKPOINTS: Final = "/opt/ml/checkpoints"
_ML: Final = "/opt/ml/"
_MODES: Final = ("File", "FastFile")


@dataclass(frozen=True, slots=True)
class Location:
    """A key, or a prefix of keys, in S3."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, uri: str) -> Location:
        """Read ``s3://bucket/key``."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return cls(bucket, key)

    def __truediv__(self, name: str) -> Location:
        return Location(self.bucket, f"{self.key.rstrip('/')}/{name}".lstrip("/"))

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class Channel:
    """One of InputDataConfig."""

    name: str
    uri: str
    manifest: bool
    """Whether `uri` is of a manifest, rather than a prefix."""
    sharded: bool
    """Whether each host gets its part of the objects, rather than all."""
    gzip: bool
    content_type: str | None
    mode: str
    record_wrapper: str

    def describe(self) -> dict[str, str]:
        """As ``inputdataconfig.json`` has it."""
        return {
            **({"ContentType": self.content_type} if self.content_type else {}),
            "TrainingInputMode": self.mode,
            "S3DistributionType": "ShardedByS3Key" if self.sharded else "FullyReplicated",
            "RecordWrapperType": self.record_wrapper,
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """One job, as it was asked for."""

    image: str
    environment: Mapping[str, str]
    hyperparameters: Mapping[str, str]
    channels: tuple[Channel, ...]
    output: Location
    """Prefix of the job's own below S3OutputPath: ``.../<job>/output``."""
    compressed: bool
    """Whether the model is uploaded as ``model.tar.gz``, rather than file by file."""
    instance_type: str
    instance_count: int
    max_runtime: float
    """Seconds."""
    checkpoints: Location | None
    checkpoint_path: str
    metric_definitions: tuple[tuple[str, str], ...] | None
    """Name and regular expression; None if the request has none."""
    role: str


def plan(name: str, request: Mapping[str, Any]) -> Plan:
    """Read the request of the job `name`.

    Raises:
        JobError: it asks for something that cannot be had here.
    """
    algorithm = request["AlgorithmSpecification"]
    image = algorithm.get("TrainingImage")
    if not image:
        raise JobError("ClientError: algorithms of AWS Marketplace cannot be run locally")
    resources = request["ResourceConfig"]
    if "InstanceType" not in resources:
        raise JobError("ClientError: InstanceGroups cannot be run locally: give an InstanceType")
    output = request["OutputDataConfig"]
    checkpoints = request.get("CheckpointConfig") or {}
    path = checkpoints.get("LocalPath") or DEFAULT_CHECKPOINTS
    if checkpoints and not f"{posixpath.normpath(path)}/".startswith(_ML):
        raise JobError(f"ClientError: the LocalPath of checkpoints must be below {_ML} locally")
    definitions = algorithm.get("MetricDefinitions")
    mode = algorithm.get("TrainingInputMode", "File")
    return Plan(
        image=image,
        environment=request.get("Environment") or {},
        hyperparameters=request.get("HyperParameters") or {},
        channels=tuple(_channel(each, mode) for each in request.get("InputDataConfig") or ()),
        output=Location.parse(output["S3OutputPath"]) / f"{name}/output",
        compressed=output.get("CompressionType", "GZIP") != "NONE",
        instance_type=resources["InstanceType"],
        instance_count=resources.get("InstanceCount", 1),
        max_runtime=(request.get("StoppingCondition") or {}).get(
            "MaxRuntimeInSeconds", DEFAULT_RUNTIME
        ),
        checkpoints=Location.parse(checkpoints["S3Uri"]) if checkpoints else None,
        checkpoint_path=path,
        metric_definitions=tuple((each["Name"], each["Regex"]) for each in definitions)
        if definitions
        else None,
        role=request["RoleArn"],
    )


def _channel(described: Mapping[str, Any], mode: str) -> Channel:
    name = described["ChannelName"]
    mode = described.get("InputMode") or mode
    if mode not in _MODES:
        raise JobError(
            f"ClientError: the channel {name} has input mode {mode}, which cannot be had locally: "
            f"use {' or '.join(_MODES)}"
        )
    source = described["DataSource"].get("S3DataSource")
    if source is None or source["S3DataType"] not in ("S3Prefix", "ManifestFile"):
        raise JobError(
            f"ClientError: the channel {name} has a data source that cannot be had locally: use an "
            "S3DataSource of type S3Prefix or ManifestFile"
        )
    return Channel(
        name=name,
        uri=source["S3Uri"],
        manifest=source["S3DataType"] == "ManifestFile",
        sharded=source.get("S3DataDistributionType") == "ShardedByS3Key",
        gzip=described.get("CompressionType") == "Gzip",
        content_type=described.get("ContentType"),
        mode=mode,
        record_wrapper=described.get("RecordWrapperType") or "None",
    )
