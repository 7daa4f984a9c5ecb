"""Training jobs for an endpoint: as what, in which image, and where their archives go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mme_hosting.context import Context
from mme_training.s3 import Place


def place(context: Context) -> Place:
    """The prefix of jobs' data and results, with a slash at its end.

    It is beside the models' own prefix: what is trained is not served before somebody says so.
    """
    models = context.models
    return Place(models.bucket, f"{models.key.rstrip('/') or 'models'}-training/")


def archives(context: Context) -> Place:
    """The prefix that trained archives are copied to; ``mme models add`` takes them from there."""
    return place(context).below("archives/")


def job_options(context: Context, given: Mapping[str, Any] = {}) -> dict[str, Any]:
    """What ``mme train many --engine sagemaker`` needs to know: the endpoint says what lacks.

    Args:
        context: the endpoint.
        given: options that are known.

    Raises:
        HostingError: the role is not known, or AWS cannot be asked for the account.
    """
    deployment = context.deployment
    options: dict[str, Any] = {
        "role": given.get("role") or context.role,
        "image": given.get("image") or context.image,
        "s3_prefix": str(place(context)),
        "models_prefix": str(archives(context)),
        "region": context.aws.region,
        "tags": dict(deployment.tags),
    }
    if deployment.kms_key:
        options["kms_key"] = deployment.kms_key
    if deployment.vpc:
        options["subnets"] = tuple(deployment.vpc.subnets)
        options["security_groups"] = tuple(deployment.vpc.security_groups)
    return {**options, **given}
