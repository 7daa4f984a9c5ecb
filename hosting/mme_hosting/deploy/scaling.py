"""The autoscaling of an endpoint, as part of a plan: it comes, changes, goes, and pauses."""

from __future__ import annotations

from mme_hosting.deploy import fields
from mme_hosting.deploy.present import Present
from mme_hosting.deploy.resources import Resources
from mme_hosting.deploy.steps import Sign, Step, autoscaling, delete_policy, deregister


def unscaled(wanted: Resources, present: Present) -> list[Step]:
    """Autoscaling that was taken out; what others have made stays."""
    if wanted.target:
        return []
    name = wanted.name
    steps = []
    policy = present.policy(name)
    if policy:
        steps.append(delete_policy(name, policy["PolicyName"]))
    if present.target and not present.scaled_by_others(name):
        steps.append(deregister(name, present.target))
    return steps


def scaling(wanted: Resources, present: Present) -> list[Step]:
    """Autoscaling that is wanted, and is not there or is another."""
    if wanted.target is None or wanted.policy is None:
        return []
    name = wanted.name
    target = fields.changes(fields.of_target(present.target), fields.of_target(wanted.target))
    found = present.policy(name)
    policy = fields.changes(fields.of_policy(found), fields.of_policy(wanted.policy))
    steps = []
    if target:
        sign: Sign = "~" if present.target else "+"
        what = f"the autoscaling of {name}"
        steps.append(autoscaling(sign, "RegisterScalableTarget", what, wanted.target, target))
    if policy:
        what = f"the scaling policy {wanted.policy['PolicyName']}"
        sign = "~" if found else "+"
        steps.append(autoscaling(sign, "PutScalingPolicy", what, wanted.policy, policy))
    return steps


def pauses(wanted: Resources, present: Present) -> bool:
    """Whether SageMaker refuses the update as long as the endpoint is autoscaled.

    What others have made of it is not taken away; SageMaker's refusal says what it is.
    https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-update.html
    """
    if present.target is None or present.scaled_by_others(wanted.name):
        return False
    old, new = fields.of_config(present.config), fields.of_config(wanted.config)
    return bool(old.get("instance_type") != new["instance_type"])


def paused(name: str, present: Present) -> list[Step]:
    """Take it away for an update."""
    steps = [delete_policy(name, policy) for policy in present.policies]
    return [*steps, *([deregister(name, present.target)] if present.target else ())]
