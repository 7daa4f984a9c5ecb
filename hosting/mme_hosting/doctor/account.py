"""Settings, credentials and region."""

from __future__ import annotations

from collections.abc import Iterator

import boto3

from mme_hosting.aws import AwsError
from mme_hosting.doctor.findings import Finding, SkipError, failed, ok, warning
from mme_hosting.doctor.setup import Setup
from mme_hosting.errors import HostingError


def settings(setup: Setup) -> Iterator[Finding]:
    """What mme.yaml, the environment and flags say."""
    found = setup.deployment
    if isinstance(found, HostingError):
        yield failed(str(found), "mme init --local" if setup.local else "mme init")
        return
    scaling = found.autoscaling
    count = f"{scaling.min} to {scaling.max}" if scaling else f"{found.instances}"
    yield ok(f"the endpoint {found.name} on {count} {found.instance_type}")


def credentials(setup: Setup) -> Iterator[Finding]:
    """Whose they are."""
    if setup.no_region:
        raise SkipError("no region")
    if setup.no_credentials:
        yield failed(str(setup.no_credentials), "aws configure")
        return
    caller = setup.aws.caller
    if caller.endswith(":root") and not setup.emulated:
        yield warning(f"{caller}: the root of the account; take a user or a role: mme iam deployer")
    else:
        yield ok(caller)


def region(setup: Setup) -> Iterator[Finding]:
    """Which, and that SageMaker is there."""
    if setup.no_region:
        configured = isinstance(setup.no_region, AwsError)  # wrongly, such as a profile
        fix = "aws configure list-profiles" if configured else "export AWS_REGION=us-east-1"
        yield failed(str(setup.no_region), fix)
        return
    session = boto3.session.Session()
    known = {
        name
        for partition in session.get_available_partitions()
        for name in session.get_available_regions("sagemaker", partition)
    }
    if setup.region in known:
        yield ok(f"{setup.region}")
    else:
        yield warning(f"{setup.region} is no region that this boto3 knows SageMaker in")
