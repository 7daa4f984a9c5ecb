"""Requests to SageMaker's API that are right as they are, for tests to make wrong in one place."""

from __future__ import annotations

from typing import Any

from support.aws import ACCOUNT
from support.local_api import IMAGE, ROLE_NAME

ROLE = f"arn:aws:iam::{ACCOUNT}:role/{ROLE_NAME}"


def model(name: str = "houses", **container: Any) -> dict[str, Any]:
    """CreateModel, of a container that serves any number of models."""
    definition = {
        "Image": IMAGE,
        "Mode": "MultiModel",
        "ModelDataUrl": "s3://houses/models/",
        **container,
    }
    return {
        "ModelName": name,
        "ExecutionRoleArn": ROLE,
        "PrimaryContainer": {key: item for key, item in definition.items() if item is not None},
    }


def variant(**members: Any) -> dict[str, Any]:
    """A production variant of that model."""
    wanted = {
        "VariantName": "AllTraffic",
        "ModelName": "houses",
        "InstanceType": "ml.t2.medium",
        "InitialInstanceCount": 1,
        **members,
    }
    return {key: item for key, item in wanted.items() if item is not None}


def config(name: str = "houses", **members: Any) -> dict[str, Any]:
    """CreateEndpointConfig."""
    return {"EndpointConfigName": name, "ProductionVariants": [variant(**members)]}


def training_job(name: str = "chicago", **members: Any) -> dict[str, Any]:
    """CreateTrainingJob."""
    channel = {
        "ChannelName": "train",
        "ContentType": "text/csv",
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://houses/train"}},
    }
    return {
        "TrainingJobName": name,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "HyperParameters": {"num_round": "5"},
        "InputDataConfig": [channel],
        "OutputDataConfig": {"S3OutputPath": "s3://houses/out/"},
        "ResourceConfig": {
            "InstanceType": "ml.t3.medium",
            "InstanceCount": 1,
            "VolumeSizeInGB": 5,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        **members,
    }
