"""What a training job is called, and what is asked of SageMaker for it: no call is made here."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from mme_training.hyperparameters.parse import parse
from mme_training.many.sagemaker_options import SageMakerOptions
from mme_training.many.work import Plan, Segment
from mme_training.metrics import metric_definitions

MOST_ATTEMPTS: Final = 99
CONTENT_TYPE: Final = "application/x-parquet"
CHANNELS: Final = ("train", "validation")
"""What a job reads. The test rows are uploaded beside them, but no job is given them."""

_MOST_DEFINITIONS: Final = 40
_SLUG_LENGTH: Final = 30  # With the longest prefix, fingerprint and attempt that makes 63.


@dataclass(frozen=True, slots=True)
class Progress:
    """Something is known anew of one segment's job."""

    segment: str
    job: str
    status: str
    """``Completed``, ``Failed`` or ``Stopped`` at the end; before, SageMaker's secondary status."""
    since: datetime | None = None
    """When the job was created; None once it has ended."""
    seconds: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    reason: str | None = None
    """Why it failed or was stopped."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something to tell the user that is not about one job."""

    text: str


Event = Progress | Note


def job_name(prefix: str, segment: str, fingerprint: str, attempt: int = 1) -> str:
    """The one name of a segment's job: the same in each run, so that a job is found again.

    ``<prefix>-<segment>-<8 of the fingerprint>``, and ``-2`` and so on from the second attempt. Job
    names take letters, digits and hyphens, 63 in all; where the segment's name does not fit, it is
    changed and gets six digits of its own digest, so that no two segments share a job.
    """
    slug = re.sub(r"[^a-zA-Z0-9]+", "-", segment).strip("-")
    if slug != segment or len(slug) > _SLUG_LENGTH:
        digest = hashlib.sha256(segment.encode()).hexdigest()[:6]
        slug = f"{slug[: _SLUG_LENGTH - 7].rstrip('-')}-{digest}".lstrip("-")
    return f"{prefix}-{slug}-{fingerprint[:8]}" + (f"-{attempt}" if attempt > 1 else "")


def data_prefix(options: SageMakerOptions, segment: Segment, fingerprint: str) -> str:
    """S3 URI below which the rows and checkpoints of a segment are."""
    return f"{options.s3_prefix.rstrip('/')}/data/{segment.name}/{fingerprint[:16]}"


def request(options: SageMakerOptions, plan: Plan, name: str, data: str) -> dict[str, Any]:
    """The arguments of CreateTrainingJob; `data` is the segment's `data_prefix`."""
    encryption = {"KmsKeyId": options.kms_key} if options.kms_key else {}
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": options.image,
            "TrainingInputMode": options.input_mode,
            "MetricDefinitions": definitions(plan.hyperparameters),
            "EnableSageMakerMetricsTimeSeries": True,
        },
        "RoleArn": options.role,
        "HyperParameters": {k: as_text(v) for k, v in plan.hyperparameters.items()},
        "InputDataConfig": [_channel(channel, f"{data}/{channel}/") for channel in CHANNELS],
        "OutputDataConfig": {
            "S3OutputPath": f"{options.s3_prefix.rstrip('/')}/output",
            **encryption,
        },
        "ResourceConfig": {
            "InstanceType": options.instance_type,
            "InstanceCount": 1,
            "VolumeSizeInGB": options.volume_gb,
            **({"VolumeKmsKeyId": options.kms_key} if options.kms_key else {}),
        },
        "EnableNetworkIsolation": options.network_isolation,
        **_stopping(options, data),
        **_surroundings(options),
    }


def definitions(hyperparameters: Mapping[str, Any]) -> list[dict[str, str]]:
    """How SageMaker finds the metrics in the log: those of `eval_metric`, of both channels.

    Without `eval_metric`, XGBoost logs one that depends on the objective: then all that there are.
    """
    names = parse(hyperparameters).eval_metric
    if not names:
        return metric_definitions()
    return [
        {
            "Name": f"{channel}:{name}",
            # A tab is #011 in some logs.
            "Regex": rf"\[\d+\].*(?:#011|\s){channel}-{re.escape(name)}"
            r":([^\s#]+)",
        }
        for channel in reversed(CHANNELS)
        for name in names
    ][:_MOST_DEFINITIONS]


def as_text(value: Any) -> str:
    """A hyperparameter as SageMaker takes it: all of them are strings there."""
    return value if isinstance(value, str) else json.dumps(value)


def _channel(name: str, uri: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {
        "ChannelName": name,
        "DataSource": {"S3DataSource": source},
        "ContentType": CONTENT_TYPE,
        "CompressionType": "None",
    }


def _stopping(options: SageMakerOptions, data: str) -> dict[str, Any]:
    runtime = {"MaxRuntimeInSeconds": options.max_runtime}
    if not options.spot:
        return {"StoppingCondition": runtime}
    return {
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {
            **runtime,
            "MaxWaitTimeInSeconds": options.max_wait or 2 * options.max_runtime,
        },
        # Of all attempts: the next one goes on where the last one was stopped.
        "CheckpointConfig": {
            "S3Uri": f"{data}/checkpoints",
            "LocalPath": "/opt/ml/checkpoints",
        },
    }


def _surroundings(options: SageMakerOptions) -> dict[str, Any]:
    tags = [{"Key": key, "Value": value} for key, value in options.tags.items()]
    network = {
        "Subnets": list(options.subnets),
        "SecurityGroupIds": list(options.security_groups),
    }
    return {
        **({"Tags": tags} if tags else {}),
        **({"VpcConfig": network} if options.subnets else {}),
    }
