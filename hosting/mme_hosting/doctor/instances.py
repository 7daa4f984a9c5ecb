"""Instances: whether the type can do it, and how many the account may have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from botocore.loaders import create_loader
from botocore.model import ServiceModel

from mme_hosting.aws import Aws, AwsError
from mme_hosting.context import is_gpu
from mme_hosting.doctor.findings import Finding, SkipError, failed, ok, warning
from mme_hosting.doctor.setup import Setup
from mme_hosting.settings import Deployment
from mme_training.instance_types import (
    HOSTING,
    TRAINING,
    hosts_multi_model,
    nearest_of,
    takes_volume_size,
)

_SERVICE: Final = "sagemaker"
_QUOTA: Final = "{type} for {use} usage"
_BURSTABLE: Final = "ml.t2."
"""https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling.html."""
_LISTS: Final = ("ListServiceQuotas", "ListAWSDefaultServiceQuotas")
"""The first has those that were ever changed for the account, the second all."""


def instance_type(setup: Setup) -> Iterator[Finding]:
    """Whether it hosts multi-model endpoints, and trains where that is asked for."""
    chosen = setup.settings.instance_type
    types = {kind: _types(kind) for kind in (HOSTING, TRAINING)}
    if chosen not in types[HOSTING]:
        trains = " It can train." if chosen in types[TRAINING] else ""
        near = nearest_of(chosen, types[HOSTING])
        yield failed(
            f"{chosen} is no type that hosts endpoints.{trains}",
            f"instance_type: {near}" if near else "",
        )
    elif not hosts_multi_model(chosen):
        yield failed(
            f"{chosen} takes no multi-model endpoints, which want CPUs or a single GPU",
            "instance_type: ml.g4dn.xlarge",
        )
    elif is_gpu(chosen):
        yield warning(f"{chosen} has a GPU: AWS says of Triton alone that it hosts many models")
    else:
        yield ok(f"{chosen} hosts multi-model endpoints")
    if setup.settings.autoscaling and chosen.startswith(_BURSTABLE):
        yield failed(
            f"{chosen} is burstable, and SageMaker autoscales no such type",
            "instance_type: ml.m5.large",
        )
    if setup.settings.volume_gb and not takes_volume_size(chosen):
        yield failed(
            f"{chosen} has a disk of its own, and its size cannot be set: take volume_gb out of "
            "mme.yaml"
        )
    if setup.training and chosen not in types[TRAINING]:
        near = nearest_of(chosen, types[TRAINING])
        hint = f"; the nearest that can is {near}" if near else ""
        yield warning(f"{chosen} cannot train{hint}")


def quota(setup: Setup) -> Iterator[Finding]:
    """How many instances of the type the account may have.

    https://docs.aws.amazon.com/general/latest/gr/sagemaker.html
    """
    if setup.emulated:
        raise SkipError("the local SageMaker has no quotas")
    deployment = setup.settings
    names = [_QUOTA.format(type=deployment.instance_type, use="endpoint")]
    if setup.training:
        names.append(_QUOTA.format(type=deployment.instance_type, use="training job"))
    try:
        found = _quotas(setup.aws, names)
    except AwsError as error:
        yield warning(
            f"the quota '{names[0]}' cannot be read: {error}",
            f"aws service-quotas list-service-quotas --service-code {_SERVICE} "
            f"--region {setup.aws.region} --query \"Quotas[?QuotaName=='{names[0]}'].Value\"",
        )
        return
    region = setup.aws.region
    yield _judge_hosting(names[0], found.get(names[0]), deployment, region)
    for name in names[1:]:
        yield _judge(name, found.get(name), 1, region)


def _judge_hosting(
    name: str, found: dict[str, Any] | None, deployment: Deployment, region: str
) -> Finding:
    scaling = deployment.autoscaling
    needed = max(deployment.instances, scaling.max) if scaling else deployment.instances
    finding = _judge(name, found, needed, region)
    if finding.status == "ok" and found and found["Value"] < 2 * needed:
        return warning(
            f"{finding.text}: a deployment over the endpoint that is there runs both side by side, "
            f"and needs up to {2 * needed}",
            _request(found, 2 * needed, region),
        )
    return finding


def _judge(name: str, found: dict[str, Any] | None, needed: int, region: str) -> Finding:
    if found is None:
        return warning(f"there is no quota '{name}' in this region")
    value = int(found["Value"])
    if value < needed:
        return failed(
            f"the quota '{name}' is {value}, and must be {needed}", _request(found, needed, region)
        )
    return ok(f"the quota '{name}' is {value}")


def _request(found: dict[str, Any], wanted: int, region: str) -> str:
    return (
        f"aws service-quotas request-service-quota-increase --service-code {_SERVICE} "
        f"--quota-code {found['QuotaCode']} --desired-value {wanted} --region {region}"
    )


def _quotas(aws: Aws, names: list[str]) -> dict[str, dict[str, Any]]:
    """The quotas of these names; those that the account has before those that all have."""
    found: dict[str, dict[str, Any]] = {}
    for operation in _LISTS:
        if all(name in found for name in names):
            break
        pages = aws.pages("service-quotas", operation, "SageMaker's quotas", ServiceCode=_SERVICE)
        for quota in (each for page in pages for each in page["Quotas"]):
            if quota["QuotaName"] in names:
                found.setdefault(quota["QuotaName"], quota)
    return found


def _types(enumeration: str) -> list[str]:
    """One of boto3's enumerations: no call is made, and no profile is asked for."""
    model = ServiceModel(create_loader().load_service_model(_SERVICE, "service-2"))
    return list(model.shape_for(enumeration).enum)
