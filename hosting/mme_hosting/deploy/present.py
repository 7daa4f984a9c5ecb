"""What there is of an endpoint; everything here only reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from mme_hosting.aws import Aws
from mme_hosting.context import VARIANT
from mme_hosting.deploy.resources import (
    DIGITS,
    Request,
    Resources,
    alarm_prefix,
    policy_name,
    scaled,
)

IN_PROGRESS: Final = frozenset({"Creating", "Updating", "SystemUpdating", "RollingBack"})
"""Statuses in which SageMaker takes no other change; Deleting is another such, without a way back.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html
"""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What DescribeEndpoint says."""

    status: str
    config: str
    """Name of its configuration."""
    pending: str = ""
    """Name of the configuration that it is being created or updated with."""
    reason: str = ""
    """FailureReason."""
    current: int = 0
    """Instances that its production variant has."""
    desired: int = 0
    """Instances that it is to have."""
    arn: str = ""
    variant: str = VARIANT
    """Name of its production variant; others give theirs another."""

    @property
    def goes_to(self) -> str:
        """The configuration that it has, or is to have after what is under way."""
        return self.pending or self.config


@dataclass(frozen=True, slots=True)
class Present:
    """All that there is of an endpoint, as AWS describes it.

    `configs` and `models` are what a deployment has made for it, by name, with the time of that;
    `config` and `model` are what the endpoint runs, whoever made them.
    """

    endpoint: Endpoint | None = None
    config: Request | None = None
    model: Request | None = None
    initial: int | None = None
    """Instances in the configuration that is wanted, if that was made before."""
    configs: Mapping[str, datetime] = field(default_factory=dict)
    models: Mapping[str, datetime] = field(default_factory=dict)
    target: Request | None = None
    policies: Mapping[str, Request] = field(default_factory=dict)
    alarms: Mapping[str, Request] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    """Of the endpoint, if any are wanted."""

    def policy(self, name: str) -> Request | None:
        """The scaling policy that a deployment has made for the endpoint of that name."""
        return self.policies.get(policy_name(name))

    def scaled_by_others(self, name: str) -> bool:
        """Whether the scalable target has policies that no deployment has made."""
        return bool(set(self.policies) - {policy_name(name)})


def is_own(endpoint: str, name: str) -> bool:
    """Whether a model or configuration was made for an endpoint by a deployment."""
    return bool(re.fullmatch(rf"{re.escape(endpoint)}-[0-9a-f]{{{DIGITS}}}", name))


def find_endpoint(aws: Aws, name: str) -> Endpoint | None:
    """The endpoint, if there is one.

    Raises:
        AwsError: it cannot be described.
    """
    found = aws.find("sagemaker", "DescribeEndpoint", f"the endpoint {name}", EndpointName=name)
    return None if found is None else endpoint_of(found)


def endpoint_of(found: Mapping[str, Any]) -> Endpoint:
    """What an answer of DescribeEndpoint says."""
    variant: Mapping[str, Any] = next(iter(found.get("ProductionVariants") or ()), {})
    return Endpoint(
        status=found["EndpointStatus"],
        config=found.get("EndpointConfigName", ""),
        pending=found.get("PendingDeploymentSummary", {}).get("EndpointConfigName", ""),
        reason=found.get("FailureReason", ""),
        current=variant.get("CurrentInstanceCount", 0),
        desired=variant.get("DesiredInstanceCount", 0),
        arn=found.get("EndpointArn", ""),
        variant=variant.get("VariantName", VARIANT),
    )


def look(aws: Aws, name: str, wanted: Resources | None = None) -> Present:
    """All that there is of the endpoint `name`.

    Args:
        aws: the account.
        name: of the endpoint.
        wanted: what there should be, if anything.

    Raises:
        AwsError: something cannot be read.
    """
    endpoint = find_endpoint(aws, name)
    config = find_config(aws, endpoint.config) if endpoint else None
    configs = _made(aws, name, "ListEndpointConfigs", "EndpointConfigs", "EndpointConfigName")
    made = wanted is not None and wanted.config_name in configs
    initial = find_config(aws, wanted.config_name) if wanted and made else None
    tagged = endpoint is not None and wanted is not None and "Tags" in wanted.endpoint
    return Present(
        endpoint=endpoint,
        config=config,
        model=find_model(aws, config),
        initial=initial["ProductionVariants"][0]["InitialInstanceCount"] if initial else None,
        configs=configs,
        models=_made(aws, name, "ListModels", "Models", "ModelName"),
        target=_target(aws, name),
        policies=_policies(aws, name),
        alarms=_alarms(aws, name),
        tags=_tags(aws, endpoint) if endpoint and tagged else {},
    )


def find_config(aws: Aws, name: str) -> Request | None:
    """DescribeEndpointConfig; None if it is gone, which one of a running endpoint can be."""
    what = f"the endpoint configuration {name}"
    return aws.find("sagemaker", "DescribeEndpointConfig", what, EndpointConfigName=name)


def find_model(aws: Aws, config: Request | None) -> Request | None:
    """DescribeModel of the first production variant; None if it is gone, or has none."""
    name = (config or {}).get("ProductionVariants", [{}])[0].get("ModelName")
    if name is None:
        return None
    return aws.find("sagemaker", "DescribeModel", f"the model {name}", ModelName=name)


def _made(aws: Aws, name: str, operation: str, rows: str, member: str) -> dict[str, datetime]:
    pages = aws.pages("sagemaker", operation, f"what there is of {name}", NameContains=f"{name}-")
    return {
        row[member]: row["CreationTime"]
        for page in pages
        for row in page[rows]
        if is_own(name, row[member])
    }


def _tags(aws: Aws, endpoint: Endpoint) -> dict[str, str]:
    pages = aws.pages("sagemaker", "ListTags", endpoint.arn, ResourceArn=endpoint.arn)
    return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}


def _target(aws: Aws, name: str) -> Request | None:
    which = scaled(name)
    request = {
        "ServiceNamespace": which["ServiceNamespace"],
        "ResourceIds": [which["ResourceId"]],
        "ScalableDimension": which["ScalableDimension"],
    }
    what = f"the autoscaling of {name}"
    found = aws.call("application-autoscaling", "DescribeScalableTargets", what, **request)
    return next(iter(found["ScalableTargets"]), None)


def _policies(aws: Aws, name: str) -> dict[str, Request]:
    what = f"the autoscaling of {name}"
    pages = aws.pages("application-autoscaling", "DescribeScalingPolicies", what, **scaled(name))
    return {row["PolicyName"]: row for page in pages for row in page["ScalingPolicies"]}


def _alarms(aws: Aws, name: str) -> dict[str, Request]:
    prefix = alarm_prefix(name)
    pages = aws.pages(
        "cloudwatch", "DescribeAlarms", f"the alarms of {name}", AlarmNamePrefix=prefix
    )
    return {row["AlarmName"]: row for page in pages for row in page["MetricAlarms"]}
