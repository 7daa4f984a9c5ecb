"""Requests and descriptions of AWS in mme.yaml's words, so that one can be held against the other.

What AWS describes has more in it than was asked for, and leaves out what is the default: compared
is only what a deployment says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mme_hosting.deploy.resources import Request

Settings = dict[str, Any]

_SECRET: Final = re.compile(
    r"key|token|secret|pass|pwd|credential|auth|private|sign|dsn|cert|cookie|session|connection",
    re.IGNORECASE,
)
_USER_IN_URL: Final = re.compile(r"://[^/\s]*@")
_HIDDEN: Final = "(hidden)"
_OF_ALARMS: Final = (
    "Namespace",
    "MetricName",
    "Statistic",
    "ExtendedStatistic",
    "Threshold",
    "ComparisonOperator",
    "Period",
    "EvaluationPeriods",
    "DatapointsToAlarm",
    "TreatMissingData",
)


@dataclass(frozen=True, slots=True)
class Change:
    """A setting that is another than before; None is one that is not there."""

    setting: str
    old: Any
    new: Any


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Change, ...]:
    """The settings that differ, in the order of `new`; values that may be secret are hidden."""
    names = [*new, *(name for name in old if name not in new)]
    return tuple(
        Change(name, _shown(name, old.get(name)), _shown(name, new.get(name)))
        for name in names
        if old.get(name) != new.get(name)
    )


def _shown(name: str, value: Any) -> Any:
    if value is None or not name.startswith("environment."):
        return value
    variable = name.partition(".")[2]
    return _HIDDEN if _SECRET.search(variable) or _USER_IN_URL.search(value) else value


def containers(model: Request) -> list[Request]:
    """Of CreateModel's request, or what DescribeModel answers: the one, or several."""
    first = model.get("PrimaryContainer")
    return [first] if first else list(model.get("Containers") or ())


def of_model(model: Request | None) -> Settings:
    """Of CreateModel's request, or what DescribeModel answers."""
    if model is None:
        return {}
    container = next(iter(containers(model)), {})
    vpc = model.get("VpcConfig", {})
    cache = container.get("MultiModelConfig", {}).get("ModelCacheSetting", "Enabled")
    settings = {
        "image": container.get("Image"),
        "models": container.get("ModelDataUrl"),
        **{f"environment.{k}": v for k, v in sorted(container.get("Environment", {}).items())},
        "role": model.get("ExecutionRoleArn"),
        "cache_models": cache == "Enabled",
        "network_isolation": model.get("EnableNetworkIsolation", False),
        "vpc.subnets": _unordered(vpc.get("Subnets")),
        "vpc.security_groups": _unordered(vpc.get("SecurityGroupIds")),
    }
    return _given(settings)


def of_config(config: Request | None) -> Settings:
    """Of CreateEndpointConfig's request, or what DescribeEndpointConfig answers."""
    if config is None:
        return {}
    variant: Request = next(iter(config.get("ProductionVariants") or ()), {})
    metrics = config.get("MetricsConfig", {})
    settings = {
        "instance_type": variant.get("InstanceType"),
        "production variant": variant.get("VariantName"),
        "volume_gb": variant.get("VolumeSizeInGB"),
        "startup_seconds": variant.get("ContainerStartupHealthCheckTimeoutInSeconds"),
        "inference_ami": variant.get("InferenceAmiVersion"),
        "kms_key": config.get("KmsKeyId"),
        "metrics.enhanced": metrics.get("EnableEnhancedMetrics", False),
        "metrics.detailed": metrics.get("EnableDetailedObservability", False),
        "metrics.publish_seconds": metrics.get("MetricPublishFrequencyInSeconds", 60),
    }
    return _given(settings)


def of_target(target: Request | None) -> Settings:
    """Of RegisterScalableTarget's request, or what DescribeScalableTargets answers."""
    return {} if target is None else {"min": target["MinCapacity"], "max": target["MaxCapacity"]}


def of_policy(policy: Request | None) -> Settings:
    """Of PutScalingPolicy's request, or what DescribeScalingPolicies answers."""
    if policy is None:
        return {}
    tracking = policy.get("TargetTrackingScalingPolicyConfiguration", {})
    metric = tracking.get("PredefinedMetricSpecification", {})
    settings = {
        "metric": metric.get("PredefinedMetricType"),
        "invocations_per_instance": tracking.get("TargetValue"),
        "scale_out_cooldown": tracking.get("ScaleOutCooldown"),
        "scale_in_cooldown": tracking.get("ScaleInCooldown"),
        "scale_in_disabled": tracking.get("DisableScaleIn") or None,
    }
    return _given(settings)


def of_alarm(alarm: Request | None) -> Settings:
    """Of PutMetricAlarm's request, or what DescribeAlarms answers."""
    if alarm is None:
        return {}
    dimensions = sorted((each["Name"], each["Value"]) for each in alarm.get("Dimensions", []))
    settings = {
        **{name: alarm.get(name) for name in _OF_ALARMS},
        "Dimensions": ", ".join(f"{name}={value}" for name, value in dimensions),
        "AlarmActions": _unordered(alarm.get("AlarmActions")),
    }
    return _given(settings)


def condition(alarm: Request) -> str:
    """When an alarm goes off, in a line."""
    statistic = alarm.get("Statistic") or alarm.get("ExtendedStatistic")
    sign = "<" if alarm["ComparisonOperator"] == "LessThanThreshold" else ">"
    minutes = f"{alarm['DatapointsToAlarm']} of {alarm['EvaluationPeriods']} minutes"
    return f"{statistic} of {alarm['MetricName']} {sign} {alarm['Threshold']:,.10g} in {minutes}"


def _unordered(values: Any) -> str | None:
    return ", ".join(sorted(values)) if values else None


def _given(settings: Settings) -> Settings:
    return {name: value for name, value in settings.items() if value is not None}
