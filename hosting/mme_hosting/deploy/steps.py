"""Calls that change something, and those that delete, which `mme deploy` and `mme delete` share.

The words are Terraform's: `+` is created, `~` changed, `-` removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from mme_hosting.deploy import fields
from mme_hosting.deploy.fields import Change
from mme_hosting.deploy.resources import Request, scaled

Sign = Literal["+", "~", "-"]

_TARGET: Final = ("MinCapacity", "MaxCapacity", "SuspendedState")
_POLICY: Final = ("PolicyName", "PolicyType", "TargetTrackingScalingPolicyConfiguration")


@dataclass(frozen=True, slots=True)
class Step:
    """A call that changes something."""

    sign: Sign
    service: str
    operation: str
    resource: str
    """What it is about, such as ``the model houses-0123abcd``."""
    request: Request
    changes: tuple[Change, ...] = ()


def sagemaker(
    sign: Sign, operation: str, what: str, request: Request, differ: tuple[Change, ...] = ()
) -> Step:
    """A step in SageMaker."""
    return Step(sign, "sagemaker", operation, what, request, differ)


def autoscaling(
    sign: Sign, operation: str, what: str, request: Request, differ: tuple[Change, ...] = ()
) -> Step:
    """A step in Application Auto Scaling."""
    return Step(sign, "application-autoscaling", operation, what, request, differ)


def delete_endpoint(name: str, what: str) -> Step:
    """Of one at which nothing is under way."""
    return sagemaker("-", "DeleteEndpoint", what, {"EndpointName": name})


def delete_policy(name: str, policy: str) -> Step:
    """Without it, nothing scales the endpoint."""
    what = f"the scaling policy {policy}"
    return autoscaling("-", "DeleteScalingPolicy", what, {**scaled(name), "PolicyName": policy})


def deregister(name: str, target: Request) -> Step:
    """The instances stay as many as they are."""
    gone = fields.changes(fields.of_target(target), {})
    return autoscaling(
        "-", "DeregisterScalableTarget", f"the autoscaling of {name}", scaled(name), gone
    )


def scale_again(
    name: str, target: Request | None, policies: Mapping[str, Request]
) -> Iterator[Step]:
    """Autoscaling as it was described before it was taken away."""
    for operation, what, described, members in (
        ("RegisterScalableTarget", f"the autoscaling of {name}", [target or {}], _TARGET),
        ("PutScalingPolicy", f"the scaling policy of {name}", policies.values(), _POLICY),
    ):
        for each in described:
            request = {member: each[member] for member in members if member in each}
            yield autoscaling("+", operation, what, {**scaled(name), **request})


def delete_alarms(names: Iterable[str]) -> list[Step]:
    """One call each: of several, none is deleted where one is not there."""
    return [
        Step("-", "cloudwatch", "DeleteAlarms", f"the alarm {name}", {"AlarmNames": [name]})
        for name in sorted(names)
    ]


def delete_made(configs: Iterable[str], models: Iterable[str]) -> list[Step]:
    """Configurations, then the models that they name."""
    steps = [
        sagemaker(
            "-",
            "DeleteEndpointConfig",
            f"the endpoint configuration {name}",
            {"EndpointConfigName": name},
        )
        for name in sorted(configs)
    ]
    return steps + [
        sagemaker("-", "DeleteModel", f"the model {name}", {"ModelName": name})
        for name in sorted(models)
    ]
