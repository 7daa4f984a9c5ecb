"""`mme delete`: what goes with an endpoint, and what stays and costs."""

from __future__ import annotations

from dataclasses import dataclass

from mme_hosting.aws import AwsError
from mme_hosting.context import Context
from mme_hosting.deploy import fields
from mme_hosting.deploy.apply import Run, do
from mme_hosting.deploy.log_tail import GROUP
from mme_hosting.deploy.present import Present, is_own, look
from mme_hosting.deploy.steps import (
    Step,
    delete_alarms,
    delete_endpoint,
    delete_made,
    delete_policy,
    deregister,
)
from mme_hosting.deploy.wait import Progress, settled
from mme_hosting.training import place
from mme_training import s3
from mme_training.s3 import Place

PRICES_FROM = "us-east-1, January 2025"
"""Of the prices here, in US dollars; other regions have others.

https://aws.amazon.com/s3/pricing/, https://aws.amazon.com/cloudwatch/pricing/
"""
_STANDARD = 0.023
_LOGS = 0.03
_GB = 2**30  # what AWS bills as a GB


@dataclass(frozen=True, slots=True)
class Stays:
    """What is not deleted; `note` says what is known of it, and how to delete it."""

    what: str
    note: str
    bytes: int | None = None
    """None: it is not known."""
    price: float | None = None
    """US dollars for a GB and month."""

    @property
    def monthly(self) -> float | None:
        """US dollars."""
        if self.bytes is None or self.price is None:
            return None
        return self.bytes / _GB * self.price


@dataclass(frozen=True)
class Deletion:
    """What goes, in order, and what stays."""

    steps: tuple[Step, ...]
    stays: tuple[Stays, ...]
    run: Run
    warning: str = ""


def prepare(context: Context, progress: Progress) -> Deletion:
    """Look what there is.

    Raises:
        AwsError: something cannot be read.
    """
    present = look(context.aws, context.name)
    steps = tuple(_steps(context.name, present))
    stays = tuple(_stays(context, present))
    run = Run(context.aws, context.name, "", progress)
    return Deletion(steps, stays, run, _warning(context.name, present))


def delete(deletion: Deletion) -> None:
    """Delete it. What another run has deleted meanwhile is no error.

    Raises:
        HostingError: something cannot be deleted; the rest goes when it is run again.
    """
    run = deletion.run
    for step in deletion.steps:
        if step.operation == "DeleteEndpoint":  # which SageMaker refuses during a change
            settled(run.aws, run.name, run.progress)
        do(step, run, None)


def _steps(name: str, present: Present) -> list[Step]:
    """Autoscaling first: without its endpoint it would be left over, and nobody sees it."""
    steps = [delete_policy(name, policy) for policy in sorted(present.policies)]
    if present.target:
        steps.append(deregister(name, present.target))
    steps += delete_alarms(present.alarms)
    if present.endpoint:
        status = "" if present.endpoint.status == "InService" else f" ({present.endpoint.status})"
        steps.append(delete_endpoint(name, f"the endpoint {name}{status}"))
    return steps + delete_made(present.configs, present.models)


def _warning(name: str, present: Present) -> str:
    endpoint = present.endpoint
    if endpoint is None or is_own(name, endpoint.config):
        return ""
    return (
        f"{name} was not made by mme deploy: its configuration {endpoint.config} and that one's "
        "models stay."
    )


def _stays(context: Context, present: Present) -> list[Stays]:
    settings = fields.of_model(present.model)
    prefix = settings.get("models")
    served = s3.parse(prefix) if prefix else context.models  # what mme.yaml names, if none runs
    stays = [_objects(context, f"the models at {served}", served), _logs(context)]
    trained = place(context)
    training = _objects(context, f"data and results of training jobs at {trained}", trained)
    if training.bytes:
        stays.insert(1, training)
    if image := settings.get("image"):
        note = "in ECR a GB and month is $0.10"
        stays.append(Stays(f"the image {image}", note))
    return stays


def _objects(context: Context, what: str, prefix: Place) -> Stays:
    """What is below a prefix in S3."""
    count = size = 0
    try:
        pages = context.aws.pages(
            "s3", "ListObjectsV2", str(prefix), Bucket=prefix.bucket, Prefix=prefix.key
        )
        for page in pages:
            for found in page.get("Contents", []):
                count, size = count + 1, size + found["Size"]
    except AwsError as error:
        return Stays(what, "there is no such bucket" if error.absent else f"not counted: {error}")
    return Stays(what, f"{count:,} objects: aws s3 rm --recursive {prefix}", size, _STANDARD)


def _logs(context: Context) -> Stays:
    group = GROUP + context.name
    what = f"the log group {group}"
    try:
        pages = context.aws.pages("logs", "DescribeLogGroups", what, logGroupNamePrefix=group)
        found = [row for page in pages for row in page["logGroups"] if row["logGroupName"] == group]
    except AwsError as error:
        return Stays(what, f"not looked at: {error}")
    if not found:
        return Stays(what, "there is none", 0, _LOGS)
    days = found[0].get("retentionInDays")
    kept = f"kept for {days} days" if days else "kept for ever"
    region = context.aws.region
    note = f"{kept}: aws logs delete-log-group --log-group-name {group} --region {region}"
    return Stays(what, note, found[0].get("storedBytes"), _LOGS)
