"""All checks, side by side, in the order in which a deployment would meet what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from mme_hosting.aws import AwsError
from mme_hosting.doctor import account, image, instances, machine, models, network, role
from mme_hosting.doctor.findings import Finding, SkipError
from mme_hosting.doctor.setup import Setup
from mme_hosting.errors import HostingError
from mme_training.errors import TrainingError

Check = Callable[[Setup], Iterator[Finding]]

CHECKS: Final[dict[str, Check]] = {
    "software": machine.software,
    "disk": machine.disk,
    "docker": machine.docker,
    "ports": machine.ports,
    "settings": account.settings,
    "region": account.region,
    "credentials": account.credentials,
    "role": role.role,
    "bucket": models.bucket,
    "models": models.prefix,
    "aliases": models.aliases,
    "image": image.image,
    "instance type": instances.instance_type,
    "quota": instances.quota,
    "network": network.network,
}
"""By subject."""
_SERVICES: Final = ("iam", "s3", "sagemaker", "service-quotas", "ec2")


def examine(setup: Setup) -> list[Finding]:
    """Make all checks; what one raises is its finding."""
    if not (setup.no_region or setup.no_credentials):
        for service in _SERVICES:  # boto3's sessions are not for several threads, its clients are
            setup.aws.client(service)
    with ThreadPoolExecutor(max_workers=len(CHECKS)) as pool:
        runs = {name: pool.submit(_run, check, setup) for name, check in CHECKS.items()}
        return [
            replace(finding, subject=name) for name, run in runs.items() for finding in run.result()
        ]


def _run(check: Check, setup: Setup) -> list[Finding]:
    found: list[Finding] = []
    try:
        for finding in check(setup):
            found.append(finding)  # noqa: PERF402 - those before an error stay
    except SkipError as reason:
        found.append(Finding("skipped", str(reason)))
    except AwsError as error:
        found.append(Finding("warning" if error.denied else "failed", str(error)))
    except (HostingError, TrainingError) as error:
        found.append(Finding("failed", str(error)))
    except Exception as error:
        text = f"this check itself has failed: {type(error).__name__}: {error}"
        found.append(Finding("failed", text))
    return found
