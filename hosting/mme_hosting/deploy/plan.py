"""The way from what there is to what there should be: calls to AWS in order. Nothing is called."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from mme_hosting.context import VARIANT
from mme_hosting.deploy import fields, scaling
from mme_hosting.deploy.fields import Change
from mme_hosting.deploy.present import IN_PROGRESS, Endpoint, Present, is_own
from mme_hosting.deploy.resources import Request, Resources
from mme_hosting.deploy.steps import (
    Sign,
    Step,
    delete_alarms,
    delete_endpoint,
    delete_made,
    sagemaker,
    scale_again,
)

_PAUSE: Final = (
    "SageMaker changes no instance type while an endpoint is autoscaled: autoscaling is off during "
    "the update."
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a deployment does: `first` until the endpoint runs as it should, `then` the rest.

    In between it is checked; nothing of `then` is done unless it answers.
    """

    first: tuple[Step, ...] = ()
    then: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()
    takes_over: bool = False
    """Whether the endpoint runs what no deployment has made."""
    back: tuple[Step, ...] = ()
    """What brings back the autoscaling that `first` takes away, should it fail."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """All of them."""
        return self.first + self.then


def make_plan(wanted: Resources, present: Present) -> Plan:
    """Compare what should be with what is.

    Args:
        wanted: by `resources`.
        present: by `look`. While something is under way at the endpoint, the plan is for the state
            that this leads to.
    """
    name, endpoint = wanted.name, _lasting(present)
    updates = endpoint is not None and endpoint.goes_to != wanted.config_name
    retains = updates and _retains(wanted, present)
    if endpoint and (retains or not updates):
        count = endpoint.desired
    else:
        count = wanted.instances if present.initial is None else present.initial
    pauses = updates and scaling.pauses(wanted, present)
    scaled = replace(present, target=None, policies={}) if pauses else present
    first = [
        *_made(wanted, present, in_full=not updates),
        *(scaling.paused(name, present) if pauses else ()),
        *_endpoint(wanted, present, updates, retains, count),
    ]
    then = [
        *scaling.unscaled(wanted, scaled),
        *_instances(wanted, scaled, count),
        *scaling.scaling(wanted, scaled),
        *_alarms(wanted, present),
        *_tags(wanted, present),
        *(_outdated(wanted, present) if updates else ()),
    ]
    notes = _notes(wanted, present, updates, any(_is_scaling(step) for step in then))
    if pauses:
        notes.append(_PAUSE)
    takes_over = endpoint is not None and not is_own(name, endpoint.config)
    back = scale_again(name, present.target, present.policies) if pauses else ()
    return Plan(tuple(first), tuple(then), tuple(notes), takes_over, tuple(back))


def _lasting(present: Present) -> Endpoint | None:
    """The endpoint, if it is one that can be kept."""
    endpoint = present.endpoint
    return None if endpoint is None or endpoint.status in ("Failed", "Deleting") else endpoint


def _made(wanted: Resources, present: Present, in_full: bool) -> list[Step]:
    """The model and the configuration, which can only be made.

    An update says itself what in them is new; otherwise all of it is shown.
    """
    steps = []
    if wanted.model_name not in present.models:
        what = f"the model {wanted.model_name}"
        settings = fields.changes({}, fields.of_model(wanted.model) if in_full else {})
        steps.append(sagemaker("+", "CreateModel", what, wanted.model, settings))
    if wanted.config_name not in present.configs:
        what = f"the endpoint configuration {wanted.config_name}"
        settings = fields.changes({}, fields.of_config(wanted.config) if in_full else {})
        steps.append(sagemaker("+", "CreateEndpointConfig", what, wanted.config, settings))
    return steps


def _endpoint(
    wanted: Resources, present: Present, updates: bool, retains: bool, count: int
) -> list[Step]:
    """Create or update it; `count` instances is what that leads to."""
    name, what = wanted.name, f"the endpoint {wanted.name}"
    if updates:
        request: Request = {"EndpointName": name, "EndpointConfigName": wanted.config_name}
        if retains:
            request["RetainAllVariantProperties"] = True
        differ = _differences(wanted, present, count)
        return [sagemaker("~", "UpdateEndpoint", what, request, differ)]
    if _lasting(present):
        return []
    instances = (Change("instances", None, count),)
    create = sagemaker("+", "CreateEndpoint", what, wanted.endpoint, instances)
    if present.endpoint and present.endpoint.status == "Failed":
        return [delete_endpoint(name, f"{what}, which has failed"), create]
    return [create]


def _differences(wanted: Resources, present: Present, count: int) -> tuple[Change, ...]:
    """What an update changes, or at least the configurations' names."""
    old, new = present.endpoint, wanted.config_name
    if old is None or present.config is None or present.model is None:
        return (Change("configuration", "one that was deleted", new),)
    return fields.changes(
        {
            **fields.of_model(present.model),
            **fields.of_config(present.config),
            "instances": old.desired,
        },
        {**fields.of_model(wanted.model), **fields.of_config(wanted.config), "instances": count},
    ) or (Change("configuration", old.config, new),)


def _retains(wanted: Resources, present: Present) -> bool:
    """Whether the number of instances is to survive an update.

    A new configuration has the number that is wanted; one that was made before has the number of
    then, which is no better than what there is.
    """
    older = present.initial is not None and present.initial != wanted.instances
    return bool(present.target or wanted.target or older)


def _instances(wanted: Resources, present: Present, count: int) -> list[Step]:
    """The number of instances, which is `count` by then, where nothing scales them."""
    name = wanted.name
    if wanted.target or present.scaled_by_others(name) or count == wanted.instances:
        return []
    request = {
        "EndpointName": name,
        "DesiredWeightsAndCapacities": [
            {"VariantName": VARIANT, "DesiredInstanceCount": wanted.instances}
        ],
    }
    change = Change("instances", count, wanted.instances)
    operation = "UpdateEndpointWeightsAndCapacities"
    return [sagemaker("~", operation, f"the instances of {name}", request, (change,))]


def _alarms(wanted: Resources, present: Present) -> list[Step]:
    steps = []
    for alarm in wanted.alarms:
        found = present.alarms.get(alarm["AlarmName"])
        differ = fields.changes(fields.of_alarm(found), fields.of_alarm(alarm))
        if differ:
            what = f"the alarm {alarm['AlarmName']}"
            sign: Sign = "~" if found else "+"
            shown = differ if found else (Change("if", None, fields.condition(alarm)),)
            steps.append(Step(sign, "cloudwatch", "PutMetricAlarm", what, alarm, shown))
    kept = {alarm["AlarmName"] for alarm in wanted.alarms}
    return steps + delete_alarms(name for name in present.alarms if name not in kept)


def _tags(wanted: Resources, present: Present) -> list[Step]:
    """Of the endpoint, by which its cost is told apart; those that others have given it stay."""
    endpoint, tags = _lasting(present), wanted.endpoint.get("Tags", [])
    new = {tag["Key"]: tag["Value"] for tag in tags if tag["Value"] != present.tags.get(tag["Key"])}
    if endpoint is None or not new:
        return []
    old = {key: value for key, value in present.tags.items() if key in new}
    request = {"ResourceArn": endpoint.arn, "Tags": [tag for tag in tags if tag["Key"] in new]}
    what = f"the tags of {wanted.name}"
    return [sagemaker("~", "AddTags", what, request, fields.changes(old, new))]


def _outdated(wanted: Resources, present: Present) -> list[Step]:
    """What was made before the configuration that an update replaces, which is kept.

    What is newer stays: another deployment may be about to use it.
    """
    replaced = present.config
    if replaced is None or "CreationTime" not in replaced:
        return []
    before = replaced["CreationTime"]
    configs = {wanted.config_name, replaced["EndpointConfigName"]}
    models = {variant.get("ModelName") for variant in replaced["ProductionVariants"]}
    gone = {name for name, made in present.configs.items() if made < before} - configs
    if present.configs.keys() - gone - configs:
        return delete_made(gone, ())  # the newer ones may name any model
    models.add(wanted.model_name)
    return delete_made(
        gone, {name for name, made in present.models.items() if made < before} - models
    )


def _notes(wanted: Resources, present: Present, updates: bool, scales: bool) -> list[str]:
    """What it implies."""
    name = wanted.name
    endpoint = present.endpoint
    notes = [*_status(name, endpoint)]
    if updates and endpoint:
        notes.append(
            "An update replaces the instances. The old ones serve until the new ones are healthy; "
            "models are loaded again at their first use."
        )
        if present.config is not None:
            notes.append(f"{endpoint.config} is kept, to go back to.")
        if not is_own(name, endpoint.config):
            notes.append(
                f"{endpoint.config} was not made by mme deploy, which takes the endpoint over."
            )
    if scales and not updates:
        notes.append("A change of the number keeps the instances that stay, and their models.")
    if not wanted.target and present.scaled_by_others(name):
        notes.append(
            "Autoscaling policies that mme deploy has not made stay, and decide on the number of "
            "instances."
        )
    return notes


def _status(name: str, endpoint: Endpoint | None) -> list[str]:
    if endpoint is None or endpoint.status == "InService":
        return []
    if endpoint.status in IN_PROGRESS:
        goal = f" to {endpoint.goes_to}" if endpoint.goes_to else ""
        return [f"{name} is {endpoint.status}{goal}: mme deploy waits for the end of that first."]
    if endpoint.status == "Deleting":
        return [f"{name} is being deleted: mme deploy waits until it is gone, and creates it."]
    return [f"{name} is {endpoint.status}: {endpoint.reason or 'SageMaker does not say why'}"]


def _is_scaling(step: Step) -> bool:
    return step.operation == "UpdateEndpointWeightsAndCapacities"
