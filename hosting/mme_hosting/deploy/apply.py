"""A plan, carried out: each step can be repeated, and what another run has done is taken up."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from mme_hosting.aws import Aws, AwsError
from mme_hosting.deploy import advice, patience
from mme_hosting.deploy.log_tail import last_lines
from mme_hosting.deploy.plan import Plan
from mme_hosting.deploy.present import IN_PROGRESS, Endpoint, Present, find_endpoint
from mme_hosting.deploy.steps import Step
from mme_hosting.deploy.wait import Progress, settled
from mme_hosting.errors import HostingError

_CREATE: Final = "CreateEndpoint"
_UPDATE: Final = "UpdateEndpoint"
_SCALE: Final = "UpdateEndpointWeightsAndCapacities"
_DELETE: Final = "DeleteEndpoint"
_EXISTS: Final = "already existing"
_BUSY: Final = "in-progress"
_NO_SCALING: Final = "found for service namespace"  # "No scalable target", "No scaling policy"


class DeploymentError(HostingError):
    """A deployment ends with another state than was wanted.

    `log` has the containers' last lines, where they explain it.
    """

    def __init__(self, message: str, log: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.log = log


@dataclass
class Run:
    """One run of a deployment.

    Args:
        aws: the account.
        name: of the endpoint.
        config: name of the configuration that it is to have.
        progress: is told of what goes on.
        answers: raises HostingError unless the endpoint answers.
    """

    aws: Aws
    name: str
    config: str
    progress: Progress
    answers: Callable[[], None] = lambda: None
    before: Endpoint | None = None
    """What served before this run, or the one that it has taken up, changed it."""
    done: list[Step] = field(default_factory=list)
    started: float = field(default_factory=time.time)


def take_up(run: Run) -> None:
    """Wait for what another run, or an earlier one, has begun.

    Raises:
        DeploymentError: it led to the configuration that is wanted, and has failed.
        AwsError: the endpoint cannot be described.
    """
    endpoint = find_endpoint(run.aws, run.name)
    if endpoint is None or endpoint.status not in {*IN_PROGRESS, "Deleting"}:
        return
    same = endpoint.goes_to == run.config and endpoint.status != "Deleting"
    if same:
        run.progress.say(
            f"{run.name} is {endpoint.status} with {endpoint.goes_to}, as is wanted: taken up"
        )
    else:
        goal = f" to {endpoint.goes_to}" if endpoint.status != "Deleting" else ""
        run.progress.say(
            f"{run.name} is {endpoint.status}{goal}, by another run: this one waits for its end"
        )
    ended = settled(run.aws, run.name, run.progress)
    if not same:
        return
    if endpoint.config != run.config:
        run.before = endpoint
    _check_config(run, ended, created=endpoint.status == "Creating")


def apply(plan: Plan, present: Present, run: Run) -> None:
    """Carry out a plan; what was done is in `run.done`, also when it fails.

    Args:
        plan: by `make_plan`.
        present: what it was made for.
        run: this one.

    Raises:
        HostingError: it ends otherwise, and what there is now.
    """
    run.before = run.before or present.endpoint
    try:
        for step in plan.first:
            do(step, run, present.endpoint)
        if plan.first:
            _check_answers(run)
    except HostingError:
        _scale_again(plan, run)
        raise
    for step in plan.then:
        do(step, run, present.endpoint)
    if not plan.first:
        _check_answers(run)


def _scale_again(plan: Plan, run: Run) -> None:
    """Bring back the autoscaling that this run has taken away for an update that has failed."""
    if not any(step.service == "application-autoscaling" for step in run.done):
        return
    done: list[Step] = []
    try:
        for step in plan.back:
            patience.call(run.aws, step, done, run.progress)
            done.append(step)
    except AwsError as error:
        run.progress.say(f"{run.name} is not autoscaled any more: {error}. mme deploy mends it")
    else:
        run.progress.say(f"{run.name} is autoscaled as before")


def do(step: Step, run: Run, planned: Endpoint | None) -> None:
    """Carry out a step, and wait for what it begins.

    Args:
        step: what to do.
        run: this one.
        planned: the endpoint that the plan was made for; None: whatever is there by now.

    Raises:
        HostingError: it is refused, or ends otherwise.
    """
    if step.operation == _DELETE and planned and not _has_failed(run):
        settled(run.aws, run.name, run.progress)  # another run replaces it: not that one
        return
    if step.operation == _UPDATE and _is_underway(run, planned):
        _join(run)
        return
    began = time.time()
    try:
        patience.call(run.aws, step, run.done, run.progress)
    except AwsError as error:
        _refused(step, run, error)
        return
    run.done.append(step)
    if step.operation in (_CREATE, _UPDATE, _SCALE, _DELETE):
        ended = settled(run.aws, run.name, run.progress)
        _check(step, run, ended, began)


def _has_failed(run: Run) -> bool:
    now = find_endpoint(run.aws, run.name)
    return now is not None and now.status == "Failed"


def _is_underway(run: Run, planned: Endpoint | None) -> bool:
    """Whether another run has begun the same since the plan was made.

    Raises:
        DeploymentError: it has begun, or done, something else. AWS would let the last one win.
    """
    now = find_endpoint(run.aws, run.name)
    if now is None:
        raise _gone(run)
    if now.goes_to == run.config:
        return True
    if planned and now.goes_to != planned.config:
        raise _lost(run, now)
    return False


def _refused(step: Step, run: Run, error: AwsError) -> None:
    """Go on where a refusal says that another run was first; raise it where it does not."""
    said = error.said.lower()
    exists, busy = _EXISTS in said, _BUSY in said
    if step.sign == "-" and (error.absent or _NO_SCALING in said):
        return
    if exists and step.operation in ("CreateModel", "CreateEndpointConfig"):
        return  # a name says what is in it
    if (exists and step.operation == _CREATE) or (busy and step.operation in (_UPDATE, _SCALE)):
        _join(run, step)
        return
    raise HostingError(advice.explain(error, step.resource)) from None


def _join(run: Run, step: Step | None = None) -> None:
    """Wait with another run, which was first."""
    now = find_endpoint(run.aws, run.name)
    if now is None or now.status == "Deleting":
        raise _gone(run)
    if now.goes_to != run.config:
        raise _lost(run, now)
    run.progress.say(f"another run was first, with the same configuration {now.goes_to}: waiting")
    ended = settled(run.aws, run.name, run.progress)
    _check_config(run, ended, created=now.status == "Creating")
    if step and step.operation == _SCALE:
        _check_count(step, run, ended)


def _gone(run: Run) -> DeploymentError:
    return DeploymentError(f"{run.name} was deleted meanwhile, not by this run: run again")


def _lost(run: Run, now: Endpoint) -> DeploymentError:
    return DeploymentError(
        f"another deployment of {run.name} (configuration {now.goes_to}) won; the endpoint does "
        "not get the one of this run: run again to deploy over it"
    )


def _check(step: Step, run: Run, ended: Endpoint | None, began: float) -> None:
    if step.operation == _DELETE:
        replaced = run.config and ended and ended.status != "Failed"  # by another run: joined next
        if ended is not None and not replaced:
            raise DeploymentError(
                f"{run.name} is not deleted, but {ended.status}: "
                f"{ended.reason or 'SageMaker does not say why'}"
            )
    elif step.operation == _SCALE:
        _check_count(step, run, ended)
    else:
        _check_config(run, ended, created=step.operation == _CREATE, since=began)


def _check_count(step: Step, run: Run, ended: Endpoint | None) -> None:
    wanted = step.request["DesiredWeightsAndCapacities"][0]["DesiredInstanceCount"]
    if ended is None:
        raise _gone(run)
    if ended.desired != wanted or ended.status != "InService":
        reason = ended.reason or "another run may have changed it"
        raise DeploymentError(
            f"{run.name} is {ended.status} with {ended.current} instances, not {wanted}: {reason}. "
            f"{advice.advice(reason)}".rstrip(". ")
        )


def _check_config(run: Run, ended: Endpoint | None, created: bool, since: float = 0.0) -> None:
    """Raise unless the endpoint is in service, as is wanted."""
    if ended is None:
        raise _gone(run)
    wanted = run.config
    if ended.status == "InService" and ended.config == wanted:
        return
    # Of an update that SageMaker has taken back, it does not always say why.
    back = run.before is not None and ended.config == run.before.config
    if not ended.reason and ended.config != wanted and not back:
        raise _lost(run, ended)
    reason = ended.reason.rstrip(". ") or "SageMaker does not say why"
    hint = advice.advice(reason)
    because = f"{reason}. {hint}" if hint else reason
    log = last_lines(run.aws, run.name, since or run.started)
    if ended.status == "InService":
        raise DeploymentError(
            f"{run.name} cannot be updated to {wanted}, and SageMaker has gone back: the endpoint "
            f"serves with {ended.config}, as before. It says: {because}",
            log,
        )
    again = "; the next mme deploy deletes it and creates it anew" if created else ""
    raise DeploymentError(f"{run.name} is {ended.status}{again}. SageMaker says: {because}", log)


def _check_answers(run: Run) -> None:
    """Raise unless the endpoint answers; go back to what served before, if this run changed it."""
    try:
        run.answers()
    except HostingError as error:
        before = run.before
        updated = before and before.status not in ("Failed", "Deleting", "Creating")
        if before is None or not updated or before.config == run.config:
            raise DeploymentError(f"the health check of {run.name} has failed: {error}") from None
        _go_back(run, before, error)


def _go_back(run: Run, before: Endpoint, why: HostingError) -> None:
    log = last_lines(run.aws, run.name, run.started)
    run.progress.say(f"the health check has failed: {run.name} goes back to {before.config}")
    request = {
        "EndpointName": run.name,
        "EndpointConfigName": before.config,
        "RetainAllVariantProperties": True,
    }
    what = f"the endpoint {run.name}, on its way back to {before.config}"
    failed = f"the health check of {run.name} with {run.config} has failed: {why}"
    try:
        run.aws.call("sagemaker", _UPDATE, what, **request)
        ended = settled(run.aws, run.name, run.progress)
        if ended and ended.config == before.config and ended.desired != before.desired:
            capacity = {"VariantName": before.variant, "DesiredInstanceCount": before.desired}
            again = {"EndpointName": run.name, "DesiredWeightsAndCapacities": [capacity]}
            run.aws.call("sagemaker", _SCALE, what, **again)
            ended = settled(run.aws, run.name, run.progress)
    except AwsError as error:
        raise DeploymentError(
            f"{failed}. It cannot go back either: {advice.explain(error, what)}", log
        ) from None
    if ended is None or ended.config != before.config:
        reason = ended.reason if ended else "it was deleted meanwhile"
        raise DeploymentError(f"{failed}. It cannot go back to {before.config}: {reason}", log)
    raise DeploymentError(f"{failed}. The endpoint serves with {before.config} again", log)
