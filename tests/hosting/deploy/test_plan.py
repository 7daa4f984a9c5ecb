"""Plans, against a world that does what their steps say."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mme_hosting.aws import Aws
from mme_hosting.context import Context
from mme_hosting.deploy.plan import Plan, make_plan
from mme_hosting.deploy.present import Endpoint, Present, is_own
from mme_hosting.deploy.resources import Resources, resources
from mme_hosting.deploy.steps import Step
from mme_hosting.settings import Deployment

BASE: dict[str, Any] = {
    "name": "houses",
    "models": "s3://houses/models/",
    "role": "arn:aws:iam::123456789012:role/Houses",
    "image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/xgboost-mme:1.2.3-cpu",
}
FOREIGN = {"PolicyName": "by-hand", "PolicyType": "TargetTrackingScaling"}


@functools.cache
def aws() -> Aws:
    return Aws("us-east-1")


def wanted(**changed: Any) -> Resources:
    return resources(Context(Deployment.model_validate({**BASE, **changed}), aws()))


@dataclass
class World:
    """As much of AWS as an endpoint takes."""

    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    endpoint: Endpoint | None = None
    models: dict[str, Any] = field(default_factory=dict)
    configs: dict[str, Any] = field(default_factory=dict)
    target: Any = None
    policies: dict[str, Any] = field(default_factory=dict)
    alarms: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def look(self, config: str) -> Present:
        used = self.configs.get(self.endpoint.config) if self.endpoint else None
        variant = (used or {}).get("ProductionVariants", [{}])[0]
        made = self.configs.get(config)
        return Present(
            endpoint=self.endpoint,
            config=used,
            model=self.models.get(variant.get("ModelName")),
            initial=made and made["ProductionVariants"][0]["InitialInstanceCount"],
            configs={n: c["CreationTime"] for n, c in self.configs.items() if is_own("houses", n)},
            models={n: m["CreationTime"] for n, m in self.models.items() if is_own("houses", n)},
            target=self.target,
            policies=dict(self.policies),
            alarms=dict(self.alarms),
            tags=dict(self.tags),
        )

    def plan(self, goal: Resources) -> Plan:
        return make_plan(goal, self.look(goal.config_name))

    def deploy(self, goal: Resources, until: int | None = None) -> Plan:
        plan = self.plan(goal)
        for step in plan.steps[:until]:
            self.do(step)
        return plan

    def do(self, step: Step) -> None:
        self.now += timedelta(seconds=1)
        getattr(self, step.operation)(**step.request)

    def _initial(self, config: str) -> int:
        return int(self.configs[config]["ProductionVariants"][0]["InitialInstanceCount"])

    def _type(self, config: str) -> str:
        return str(self.configs[config]["ProductionVariants"][0]["InstanceType"])

    def CreateModel(self, ModelName: str, **rest: Any) -> None:  # noqa: N802, N803
        assert ModelName not in self.models
        self.models[ModelName] = {"ModelName": ModelName, "CreationTime": self.now, **rest}

    def CreateEndpointConfig(self, **request: Any) -> None:  # noqa: N802
        assert request["ProductionVariants"][0]["ModelName"] in self.models
        assert request["EndpointConfigName"] not in self.configs
        self.configs[request["EndpointConfigName"]] = {"CreationTime": self.now, **request}

    def CreateEndpoint(  # noqa: N802
        self,
        EndpointName: str,  # noqa: N803
        EndpointConfigName: str,  # noqa: N803
        Tags: Any = (),  # noqa: N803
    ) -> None:
        assert self.endpoint is None
        self.tags = {tag["Key"]: tag["Value"] for tag in Tags}
        count = self._initial(EndpointConfigName)
        self.endpoint = Endpoint("InService", EndpointConfigName, current=count, desired=count)

    def UpdateEndpoint(  # noqa: N802
        self,
        EndpointName: str,  # noqa: N803
        EndpointConfigName: str,  # noqa: N803
        RetainAllVariantProperties: bool = False,  # noqa: N803
    ) -> None:
        assert self.endpoint
        if self.target and "by-hand" not in self.policies:
            assert self._type(self.endpoint.config) == self._type(EndpointConfigName)
        retains = RetainAllVariantProperties
        count = self.endpoint.desired if retains else self._initial(EndpointConfigName)
        self.endpoint = Endpoint("InService", EndpointConfigName, current=count, desired=count)

    def UpdateEndpointWeightsAndCapacities(self, **request: Any) -> None:  # noqa: N802
        assert self.endpoint
        assert not self.target
        count = request["DesiredWeightsAndCapacities"][0]["DesiredInstanceCount"]
        self.endpoint = replace(self.endpoint, current=count, desired=count)

    def AddTags(self, ResourceArn: str, Tags: Any) -> None:  # noqa: N802, N803
        assert self.endpoint
        self.tags |= {tag["Key"]: tag["Value"] for tag in Tags}

    def DeleteEndpoint(self, EndpointName: str) -> None:  # noqa: N802, N803
        assert self.endpoint
        self.endpoint = None

    def DeleteEndpointConfig(self, EndpointConfigName: str) -> None:  # noqa: N802, N803
        assert self.endpoint
        assert self.endpoint.config != EndpointConfigName
        del self.configs[EndpointConfigName]

    def DeleteModel(self, ModelName: str) -> None:  # noqa: N802, N803
        assert all(
            config["ProductionVariants"][0]["ModelName"] != ModelName
            for config in self.configs.values()
        )
        del self.models[ModelName]

    def RegisterScalableTarget(self, **request: Any) -> None:  # noqa: N802
        assert self.endpoint
        self.target = request

    def PutScalingPolicy(self, **request: Any) -> None:  # noqa: N802
        assert self.target
        self.policies[request["PolicyName"]] = request

    def DeleteScalingPolicy(self, PolicyName: str, **_: Any) -> None:  # noqa: N802, N803
        del self.policies[PolicyName]

    def DeregisterScalableTarget(self, **_: Any) -> None:  # noqa: N802
        assert self.target
        assert not self.policies
        self.target = None

    def PutMetricAlarm(self, **request: Any) -> None:  # noqa: N802
        self.alarms[request["AlarmName"]] = request

    def DeleteAlarms(self, AlarmNames: list[str]) -> None:  # noqa: N802, N803
        for name in AlarmNames:
            del self.alarms[name]


ALARMS = st.none() | st.fixed_dictionaries(
    {"latency_ms": st.sampled_from([None, 100.0, 200.0]), "disk_percent": st.just(80.0)}
)
AUTOSCALING = st.none() | st.fixed_dictionaries(
    {"max": st.integers(2, 4), "invocations_per_instance": st.sampled_from([10.0, 20.0])}
)
GOALS = st.fixed_dictionaries(
    {
        "instances": st.integers(1, 3),
        "instance_type": st.sampled_from(["ml.m5.large", "ml.m5.xlarge"]),
        "environment": st.sampled_from([{}, {"MME_HOSTS": "1"}, {"MME_HOSTS": "2"}]),
        "autoscaling": AUTOSCALING,
        "alarms": ALARMS,
        "tags": st.sampled_from([{}, {"team": "a"}, {"team": "b", "stage": "test"}]),
    }
)
EVENTS = st.sampled_from(["nothing", "scaled", "failed", "deleted", "policy"])


def happens(event: str, world: World) -> None:
    """What others do to it, or SageMaker does."""
    if world.endpoint is None:
        return
    if event == "scaled":
        world.endpoint = replace(world.endpoint, current=4, desired=4)
    elif event == "failed":
        world.endpoint = replace(world.endpoint, status="Failed", reason="It does not start.")
    elif event == "deleted":
        world.endpoint = None
    elif event == "policy" and world.target:
        world.policies["by-hand"] = FOREIGN


@given(st.lists(st.tuples(GOALS, st.none() | st.integers(0, 12), EVENTS), max_size=6), GOALS)
def test_after_any_history_one_deployment_is_enough(history, last):
    world = World()
    for changed, until, event in history:
        world.deploy(wanted(**changed), until)
        happens(event, world)
    goal = wanted(**last)
    plan = world.deploy(goal)
    assert world.plan(goal).steps == ()
    assert world.endpoint is not None
    assert world.endpoint.config == goal.config_name
    if not goal.target and not world.target:
        assert world.endpoint.desired == last["instances"]
    assert set(world.alarms) == {alarm["AlarmName"] for alarm in goal.alarms}
    assert world.tags.items() >= last["tags"].items()
    assert all(step.changes for step in plan.steps if step.sign == "~")


@pytest.fixture
def world() -> World:
    world = World()
    world.deploy(wanted())
    return world


def operations(plan: Plan) -> list[str]:
    return [step.operation for step in plan.steps]


def test_an_update_says_which_settings_change(world: World):
    goal = wanted(instance_type="ml.m5.xlarge", environment={"MME_HOSTS": "2"}, instances=3)
    plan = world.plan(goal)
    assert operations(plan) == ["CreateModel", "CreateEndpointConfig", "UpdateEndpoint"]
    shown = {c.setting: (c.old, c.new) for c in plan.steps[-1].changes}
    assert shown == {
        "environment.MME_HOSTS": (None, "2"),
        "instance_type": ("ml.m5.large", "ml.m5.xlarge"),
        "instances": (1, 3),
    }
    assert "replaces the instances" in plan.notes[0]


@pytest.mark.parametrize(
    "name", ["MY_API_KEY", "DB_PASSWD", "PGPASS", "DB_PWD", "AUTHORIZATION", "SENTRY_DSN", "A_CERT"]
)
def test_what_may_be_secret_is_not_shown(world: World, name: str):
    world.deploy(wanted(environment={name: "abc"}))
    plan = world.plan(wanted(environment={name: "def"}))
    assert "abc" not in str([s.changes for s in plan.steps])
    assert "def" not in str([s.changes for s in plan.steps])


def test_a_url_with_a_password_is_not_shown(world: World):
    plan = world.plan(wanted(environment={"DATABASE": "postgres://me:abc@host/db", "HOST": "h"}))
    shown = {each.setting: each.new for step in plan.steps for each in step.changes}
    assert shown["environment.DATABASE"] == "(hidden)"
    assert shown["environment.HOST"] == "h"


def test_scaling_keeps_the_instances(world: World):
    plan = world.plan(wanted(instances=3))
    assert operations(plan) == ["UpdateEndpointWeightsAndCapacities"]
    assert "keeps the instances that stay" in plan.notes[0]


def test_an_autoscaled_endpoint_keeps_its_instances_over_an_update(world: World):
    scaling = {"max": 4}
    world.deploy(wanted(autoscaling=scaling))
    happens("scaled", world)
    plan = world.deploy(wanted(autoscaling=scaling, instance_type="ml.m5.xlarge"))
    update = next(step for step in plan.steps if step.operation == "UpdateEndpoint")
    assert update.request["RetainAllVariantProperties"] is True
    assert world.endpoint
    assert world.endpoint.desired == 4


def test_another_instance_type_is_had_while_nothing_scales_the_endpoint(world: World):
    """https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-update.html."""
    before = wanted(autoscaling={"max": 4, "invocations_per_instance": 7})
    world.deploy(before)
    plan = world.plan(wanted(autoscaling={"max": 5}, instance_type="ml.m5.xlarge"))
    assert operations(plan)[-5:] == [
        "DeleteScalingPolicy",
        "DeregisterScalableTarget",
        "UpdateEndpoint",
        "RegisterScalableTarget",
        "PutScalingPolicy",
    ]
    assert [step.request for step in plan.back] == [before.target, before.policy]
    assert "autoscaling is off during the update" in plan.notes[-1]
    other_model = world.plan(wanted(autoscaling={"max": 4}, environment={"MME_HOSTS": "1"}))
    assert other_model.back == ()
    assert "DeregisterScalableTarget" not in operations(other_model)


def test_the_configuration_that_was_replaced_is_kept_and_older_ones_go(world: World):
    for hosts in "1234":
        plan = world.deploy(wanted(environment={"MME_HOSTS": hosts}))
    assert operations(plan)[-2:] == ["DeleteEndpointConfig", "DeleteModel"]
    assert len(world.configs) == len(world.models) == 2
    assert f"{wanted(environment={'MME_HOSTS': '3'}).config_name} is kept, to go back to." in (
        plan.notes
    )


def test_what_another_deployment_is_about_to_use_is_not_deleted(world: World):
    world.deploy(wanted(environment={"MME_HOSTS": "1"}))
    others = wanted(environment={"MME_HOSTS": "2"})
    world.deploy(others, until=2)  # its model and its configuration
    world.deploy(wanted(environment={"MME_HOSTS": "3"}))
    assert others.config_name in world.configs
    assert others.model_name in world.models


def test_policies_of_others_stay_and_so_does_the_number_of_instances(world: World):
    world.deploy(wanted(autoscaling={"max": 4}))
    world.policies["by-hand"] = FOREIGN
    plan = world.deploy(wanted(instances=2))
    assert operations(plan) == ["DeleteScalingPolicy"]
    assert world.target
    assert "policies that mme deploy has not made stay" in plan.notes[-1]


def test_a_failed_endpoint_is_replaced(world: World):
    happens("failed", world)
    plan = world.plan(wanted(environment={"MME_HOSTS": "1"}))
    assert operations(plan)[-2:] == ["DeleteEndpoint", "CreateEndpoint"]
    assert "It does not start." in plan.notes[0]


def test_an_endpoint_that_others_made_is_taken_over_only_with_words(world: World):
    config = world.configs.pop(world.endpoint.config)
    world.configs["by-hand"] = {**config, "EndpointConfigName": "by-hand"}
    world.endpoint = replace(world.endpoint, config="by-hand")
    plan = world.plan(wanted())
    assert plan.takes_over
    assert "by-hand was not made by mme deploy" in plan.notes[-1]
    assert "DeleteEndpointConfig" not in operations(plan)


def test_what_is_under_way_is_planned_for_as_if_it_had_ended(world: World):
    goal = wanted(environment={"MME_HOSTS": "1"})
    world.deploy(goal, until=2)
    world.endpoint = replace(world.endpoint, status="Updating", pending=goal.config_name)
    plan = world.plan(goal)
    assert plan.steps == ()
    assert f"Updating to {goal.config_name}" in plan.notes[0]
