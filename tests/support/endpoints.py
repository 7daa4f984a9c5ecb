"""Endpoints as mme.yaml may describe them, for all that makes them in other ways than mme does."""

from typing import Any

from mme_hosting.aws import Aws
from mme_hosting.context import Context
from mme_hosting.settings import Deployment
from support.aws import ACCOUNT, REGION, ROLE

IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/team/xgboost-mme:0.1.0-cpu"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:on-call"

PLAIN: dict[str, Any] = {"name": "plain", "image": IMAGE, "role": ROLE}
FULL: dict[str, Any] = {
    "name": "Full-of-settings",
    "image": IMAGE,
    "role": ROLE,
    "models": "s3://houses-of-example/prices/models/",
    "instance_type": "ml.c5.xlarge",
    "instances": 3,
    "environment": {"MME_HOSTS": "2", "SAGEMAKER_MODEL_SERVER_TIMEOUT": "30"},
    "cache_models": False,
    "network_isolation": True,
    "vpc": {"subnets": ["subnet-0a1", "subnet-0b2"], "security_groups": ["sg-0c3"]},
    "kms_key": KEY,
    "volume_gb": 100,
    "startup_seconds": 600,
    "inference_ami": "al2-ami-sagemaker-inference-gpu-2",
    "autoscaling": {
        "min": 2,
        "max": 9,
        "invocations_per_instance": 750.5,
        "scale_out_cooldown": 60,
        "scale_in_cooldown": 900,
    },
    "alarms": {
        "notify": TOPIC,
        "server_errors": 0,
        "latency_ms": 250,
        "cache_hit": 0.75,
        "memory_percent": 80,
        "disk_percent": 70.5,
    },
    "tags": {"team": "pricing", "cost-center": "12 & 13"},
}
DEFAULTS: dict[str, Any] = {**PLAIN, "name": "defaults", "autoscaling": {}, "alarms": {}}
SOME_ALARMS: dict[str, Any] = {
    **PLAIN,
    "name": "some-alarms",
    "alarms": {"notify": TOPIC, "latency_ms": None, "cache_hit": None, "disk_percent": 50},
}

EVERY: dict[str, dict[str, Any]] = {
    each["name"]: each for each in (PLAIN, FULL, DEFAULTS, SOME_ALARMS)
}


def context(settings: dict[str, Any]) -> Context:
    """The endpoint, for mme; AWS is whatever the environment names."""
    return Context(Deployment.model_validate(settings), Aws())


def statements(document: dict[str, Any]) -> dict[str, Any]:
    """A policy's, by id: IAM takes one for a list of one, and no list has an order."""

    def several(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: several(each) for key, each in value.items()}
        return sorted(value) if isinstance(value, list) else [value]

    assert document["Version"] == "2012-10-17"
    return {each["Sid"]: several(each) for each in document["Statement"] if each}
