"""The image: that it is in ECR, in a form that CreateModel takes, and for the instance's CPU."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any, Final

from mme_hosting.context import Context
from mme_hosting.doctor.findings import Finding, SkipError, failed, ok
from mme_hosting.doctor.setup import Setup
from mme_hosting.images.checks import MULTI_MODELS, check_manifest
from mme_hosting.images.ecr import ADDRESS_VARIABLE, Ecr
from mme_training.instance_types import platform

_URI: Final = re.compile(
    r"(?P<host>[^/]+)/(?P<repository>[^:@]+)(?::(?P<tag>[^@]+))?(?:@(?P<digest>sha256:\w+))?"
)
_ECR: Final = re.compile(r"\d{12}\.dkr\.ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.[a-z.]+")


def image(setup: Setup) -> Iterator[Finding]:
    """What is behind its URI."""
    if setup.emulated and not os.environ.get(ADDRESS_VARIABLE):
        raise SkipError("the local SageMaker needs none pushed, and has no registry")
    context = setup.context
    uri = context.image
    parts = _URI.fullmatch(uri)
    if not parts:
        yield failed(f"{uri} is not the URI of an image: write HOST/REPOSITORY:TAG")
        return
    host = _ECR.fullmatch(parts["host"])
    if not host:
        yield failed(f"{uri} is not in Amazon ECR, where CreateModel wants it", "mme push")
    elif host["region"] != context.aws.region:
        yield failed(
            f"{uri} is in {host['region']}, and the endpoint will be in {context.aws.region}",
            f"mme push --region {context.aws.region}",
        )
    else:
        reference = parts["digest"] or parts["tag"] or "latest"
        yield from _content(context, uri, parts["repository"], reference)


def _content(context: Context, uri: str, repository: str, reference: str) -> Iterator[Finding]:
    registry = Ecr(context.aws.region).registry()
    manifest = registry.manifest(repository, reference)
    if manifest is None:
        yield failed(f"{uri} is not pushed", "mme push")
        return
    check_manifest(manifest, uri)
    configuration = registry.configuration(repository, manifest.config or "")
    faults = list(_faults(configuration, context.deployment.instance_type))
    yield from (failed(f"{uri} {fault}", "make image && mme push") for fault in faults)
    if not faults:
        yield ok(f"{uri} is pushed, and is what CreateModel takes")


def _faults(configuration: dict[str, Any], instance_type: str) -> Iterator[str]:
    labels = (configuration.get("config") or {}).get("Labels") or {}
    if labels.get(MULTI_MODELS) != "true":
        yield f"does not have the label {MULTI_MODELS}=true, without which CreateModel refuses it"
    built_for = f"{configuration.get('os')}/{configuration.get('architecture')}"
    if built_for != platform(instance_type):
        yield f"is built for {built_for}, and {instance_type} is {platform(instance_type)}"
