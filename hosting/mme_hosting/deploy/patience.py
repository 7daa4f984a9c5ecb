"""Calls of a deployment, repeated where AWS refuses for a moment only.

What was made or taken away by one call is not at once known to the next, and botocore repeats
none of these refusals. SageMaker says so of CreateEndpoint
(https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpoint.html); of Application
Auto Scaling it is what Terraform's provider waits for
(https://github.com/hashicorp/terraform-provider-aws/tree/main/internal/service/appautoscaling).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from mme_hosting.aws import Aws, AwsError
from mme_hosting.deploy.steps import Step
from mme_hosting.deploy.wait import Progress

_SECONDS: Final = 60.0
_PAUSE: Final = 2.0


@dataclass(frozen=True, slots=True)
class _Momentary:
    """Refusals of `operation` that pass, if they are what `pattern` says."""

    operation: str
    pattern: str
    after: str | None = None
    """Only if the same run has made this call before: else they do not pass by themselves."""


_MOMENTARY: Final = (
    _Momentary("UpdateEndpoint", r"deregistered as scalable target", "DeregisterScalableTarget"),
    _Momentary("PutScalingPolicy", r"ObjectNotFound", "RegisterScalableTarget"),
    *(
        _Momentary(operation, r"ConcurrentUpdate|FailedResourceAccess|unable to assume IAM role")
        for operation in (
            "RegisterScalableTarget",
            "PutScalingPolicy",
            "DeleteScalingPolicy",
            "DeregisterScalableTarget",
        )
    ),
)


def call(aws: Aws, step: Step, done: Sequence[Step], progress: Progress) -> None:
    """Make the call of a step; a refusal that passes is waited out for a minute.

    Args:
        aws: the account.
        step: the call.
        done: those of the same run before it.
        progress: is told of the first refusal.

    Raises:
        AwsError: it is refused.
    """
    end = time.monotonic() + _SECONDS
    told = False
    while True:
        try:
            aws.call(step.service, step.operation, step.resource, **step.request)
            return
        except AwsError as error:
            if not passes(step, error, done) or time.monotonic() + _PAUSE > end:
                raise
            if not told:
                progress.say(f"{step.operation} is not possible yet, and tried again: {error.said}")
                told = True
        time.sleep(_PAUSE)


def passes(step: Step, error: AwsError, done: Sequence[Step]) -> bool:
    """Whether a refusal of a step is one for a moment."""
    said = f"{error.code} {error.said}"
    if "could not find" in said.lower():  # what this run has made
        return any(name in said for name in _made(done))
    before = {each.operation for each in done}
    return any(
        step.operation == each.operation
        and (each.after is None or each.after in before)
        and re.search(each.pattern, said, re.IGNORECASE)
        for each in _MOMENTARY
    )


def _made(done: Sequence[Step]) -> Iterator[str]:
    """Names of the models and configurations that were created."""
    for step in done:
        if step.operation in ("CreateModel", "CreateEndpointConfig"):
            yield str(step.request.get("EndpointConfigName") or step.request["ModelName"])
