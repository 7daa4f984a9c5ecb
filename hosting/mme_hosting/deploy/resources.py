"""All that an endpoint is made of, as requests to AWS; nothing is called here.

A model and an endpoint configuration of SageMaker can only be made and deleted, not changed. Their
names end in a digest of what is in them: the same settings give the same names, so that whoever
comes back finds what was made before, and a change gives new ones beside the old.

The number of instances is not part of the digest. It changes while an endpoint runs, by whoever
scales it, and needs no other configuration.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

import orjson

from mme_hosting.context import VARIANT, Context
from mme_hosting.settings import Alarms, Autoscaling, Deployment

Request = dict[str, Any]

NAMESPACE: Final = "AWS/SageMaker"
"""Of what CloudWatch has of invocations and models."""
INSTANCES: Final = "/aws/sagemaker/Endpoints"
"""Of what it has of instances."""
DIMENSION: Final = "sagemaker:variant:DesiredInstanceCount"
DIGITS: Final = 8
"""Of the digest that the names of models and configurations end in."""

_MINUTE: Final = 60
_MICROSECONDS: Final = 1000  # in a millisecond


@dataclass(frozen=True, slots=True)
class Resources:
    """The requests that make an endpoint, each as its API takes it."""

    model: Request
    """CreateModel."""
    config: Request
    """CreateEndpointConfig."""
    endpoint: Request
    """CreateEndpoint."""
    instances: int
    """How many there are to be, where nothing scales them."""
    target: Request | None
    """RegisterScalableTarget; None: nothing scales the endpoint."""
    policy: Request | None
    """PutScalingPolicy."""
    alarms: tuple[Request, ...]
    """PutMetricAlarm."""

    @property
    def name(self) -> str:
        """Of the endpoint."""
        return str(self.endpoint["EndpointName"])

    @property
    def model_name(self) -> str:
        """Of the model."""
        return str(self.model["ModelName"])

    @property
    def config_name(self) -> str:
        """Of the endpoint configuration."""
        return str(self.config["EndpointConfigName"])


def resources(context: Context) -> Resources:
    """What there should be.

    Raises:
        HostingError: the role is not known, or AWS cannot be asked for the account.
    """
    deployment = context.deployment
    tags = [{"Key": key, "Value": value} for key, value in sorted(deployment.tags.items())]
    model = _named(deployment.name, "ModelName", _model(context), tags)
    config = _config(deployment, model["ModelName"])
    config = _named(deployment.name, "EndpointConfigName", config, tags)
    config["ProductionVariants"][0]["InitialInstanceCount"] = deployment.instances
    endpoint = {
        "EndpointName": deployment.name,
        "EndpointConfigName": config["EndpointConfigName"],
        **({"Tags": tags} if tags else {}),
    }
    scaling = deployment.autoscaling
    return Resources(
        model=model,
        config=config,
        endpoint=endpoint,
        instances=deployment.instances,
        target=_target(deployment.name, scaling) if scaling else None,
        policy=_policy(deployment.name, scaling) if scaling else None,
        alarms=_alarms(deployment, deployment.alarms, tags) if deployment.alarms else (),
    )


def scaled(endpoint: str) -> Request:
    """What application-autoscaling calls the instances of an endpoint."""
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint}/variant/{VARIANT}",
        "ScalableDimension": DIMENSION,
    }


def policy_name(endpoint: str) -> str:
    """Of the endpoint's scaling policy."""
    return f"{endpoint}-invocations"


def alarm_prefix(endpoint: str) -> str:
    """What the names of the endpoint's alarms begin with."""
    return f"{endpoint}/mme/"


def _named(endpoint: str, member: str, request: Request, tags: list[Request]) -> Request:
    content = orjson.dumps(request, option=orjson.OPT_SORT_KEYS)
    digest = hashlib.sha256(content).hexdigest()[:DIGITS]
    named = {member: f"{endpoint}-{digest}", **request}
    return {**named, "Tags": tags} if tags else named


def _model(context: Context) -> Request:
    deployment = context.deployment
    container: Request = {
        "Image": context.image,
        "Mode": "MultiModel",
        "ModelDataUrl": str(context.models),
        "MultiModelConfig": {
            "ModelCacheSetting": "Enabled" if deployment.cache_models else "Disabled"
        },
    }
    if deployment.environment:
        container["Environment"] = dict(deployment.environment)
    request: Request = {
        "PrimaryContainer": container,
        "ExecutionRoleArn": context.role,
        "EnableNetworkIsolation": deployment.network_isolation,
    }
    if deployment.vpc:
        request["VpcConfig"] = {
            "Subnets": deployment.vpc.subnets,
            "SecurityGroupIds": deployment.vpc.security_groups,
        }
    return request


def _config(deployment: Deployment, model: str) -> Request:
    variant: Request = {
        "VariantName": VARIANT,
        "ModelName": model,
        "InstanceType": deployment.instance_type,
        "InitialVariantWeight": 1.0,
    }
    optional = {
        "VolumeSizeInGB": deployment.volume_gb,
        "ContainerStartupHealthCheckTimeoutInSeconds": deployment.startup_seconds,
        "InferenceAmiVersion": deployment.inference_ami,
    }
    variant |= {name: value for name, value in optional.items() if value is not None}
    metrics = deployment.metrics
    request: Request = {
        "ProductionVariants": [variant],
        "MetricsConfig": {
            "EnableEnhancedMetrics": metrics.enhanced,
            "EnableDetailedObservability": metrics.detailed,
            "MetricPublishFrequencyInSeconds": metrics.publish_seconds,
        },
    }
    if deployment.kms_key:
        request["KmsKeyId"] = deployment.kms_key
    return request


def _target(endpoint: str, scaling: Autoscaling) -> Request:
    return {**scaled(endpoint), "MinCapacity": scaling.min, "MaxCapacity": scaling.max}


def _policy(endpoint: str, scaling: Autoscaling) -> Request:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-add-code-define.html."""
    metric = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
    return {
        **scaled(endpoint),
        "PolicyName": policy_name(endpoint),
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": scaling.invocations_per_instance,
            "PredefinedMetricSpecification": metric,
            "ScaleOutCooldown": scaling.scale_out_cooldown,
            "ScaleInCooldown": scaling.scale_in_cooldown,
        },
    }


def _alarms(deployment: Deployment, alarms: Alarms, tags: list[Request]) -> tuple[Request, ...]:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html."""
    latency = None if alarms.latency_ms is None else alarms.latency_ms * _MICROSECONDS
    made = (
        _alarm("server-errors", "Invocation5XXErrors", alarms.server_errors, 3, Statistic="Sum"),
        _alarm("latency", "ModelLatency", latency, 10, 5, ExtendedStatistic="p99"),
        _alarm("cache-hit", "ModelCacheHit", alarms.cache_hit, 15, below=True),
        _alarm("memory", "MemoryUtilization", alarms.memory_percent, 15, Statistic="Maximum"),
        _alarm("disk", "DiskUtilization", alarms.disk_percent, 15, Statistic="Maximum"),
    )
    common: Request = {
        "Dimensions": [
            {"Name": "EndpointName", "Value": deployment.name},
            {"Name": "VariantName", "Value": VARIANT},
        ],
        "Period": _MINUTE,
        "TreatMissingData": "notBreaching",
    }
    if alarms.notify:
        common["AlarmActions"] = [alarms.notify]
    if tags:
        common["Tags"] = tags
    prefix = alarm_prefix(deployment.name)
    return tuple(
        {**alarm, "AlarmName": prefix + alarm["AlarmName"], **common} for alarm in made if alarm
    )


def _alarm(
    name: str,
    metric: str,
    threshold: float | None,
    minutes: int,
    of_them: int | None = None,
    below: bool = False,
    **statistic: str,
) -> Request | None:
    if threshold is None:
        return None
    utilization = metric.endswith("Utilization")
    return {
        "AlarmName": name,
        "Namespace": INSTANCES if utilization else NAMESPACE,
        "MetricName": metric,
        "Threshold": threshold,
        "ComparisonOperator": "LessThanThreshold" if below else "GreaterThanThreshold",
        "EvaluationPeriods": minutes,
        "DatapointsToAlarm": of_them or minutes,
        **(statistic or {"Statistic": "Average"}),
    }
