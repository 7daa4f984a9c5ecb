"""What a deployment does that finds another state than it has planned for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mme_hosting.aws import Aws
from mme_hosting.context import Context
from mme_hosting.deploy import patience
from mme_hosting.deploy.apply import DeploymentError
from mme_hosting.deploy.deploy import Prepared, deploy, prepare
from mme_hosting.errors import HostingError
from mme_hosting.settings import Deployment
from mme_local.aws.environment import client_environment
from support.deployments import Deployed
from support.local_up import Local
from support.refusals import Refusals

pytestmark = pytest.mark.slow


class Lines:
    """Takes what a run says."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def wait(self, status: str, seconds: float) -> None:
        """Nobody looks."""


@pytest.fixture
def houses(houses: Deployed, local: Local, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    """This process finds the local SageMaker, too."""
    address, run = local.address, Path(local.run)
    for name, value in client_environment(address, run, {}).items():
        monkeypatch.setenv(name, value)
    return houses


class Runs:
    """Deployments of an endpoint in this process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines = Lines()
        self.aws = Aws("us-east-1")

    def prepare(self, **settings: Any) -> Prepared:
        deployment = Deployment.model_validate({"name": self.name, **settings})
        return prepare(Context(deployment, self.aws), self.lines)


@pytest.fixture
def runs(houses: Deployed) -> Runs:
    runs = Runs(houses.name)
    deploy(runs.prepare())
    return runs


def test_again_it_makes_no_call_that_changes_anything(houses: Deployed, runs: Runs):
    called: list[str] = []
    for service in ("sagemaker", "application-autoscaling", "cloudwatch"):
        events = runs.aws.client(service).meta.events
        events.register("before-call", lambda model, **_: called.append(model.name))
    deploy(runs.prepare())
    assert called
    assert {name for name in called if not name.startswith(("Describe", "List"))} == set()


def test_what_another_has_deployed_since_the_plan_is_not_overwritten(houses: Deployed, runs: Runs):
    loser = runs.prepare(instance_type="ml.c5.large")
    winner = runs.prepare(instance_type="ml.m5.xlarge")
    deploy(winner)
    with pytest.raises(DeploymentError, match=r"another deployment .* won.*run again"):
        deploy(loser)
    assert houses.described["EndpointConfigName"] == winner.wanted.config_name


def test_another_that_updates_now_wins(houses: Deployed, runs: Runs):
    loser = runs.prepare(instance_type="ml.c5.large")
    winner = runs.prepare(instance_type="ml.m5.xlarge")
    for step in winner.plan.first:
        runs.aws.call(step.service, step.operation, step.resource, **step.request)
    with pytest.raises(DeploymentError, match=f"{winner.wanted.config_name}.*won"):
        deploy(loser)
    houses.wait_for("InService")


def test_another_that_does_the_same_is_waited_for(houses: Deployed, runs: Runs):
    one, two = (runs.prepare(instance_type="ml.c5.large") for _ in range(2))
    for step in one.plan.first:
        runs.aws.call(step.service, step.operation, step.resource, **step.request)
    deploy(two)
    assert any("another run was first" in line for line in runs.lines.said)
    assert two.run.done == []
    assert houses.status == "InService"


def test_what_another_has_created_meanwhile_is_taken(houses: Deployed):
    runs = Runs(houses.name)
    loser, same = runs.prepare(instance_type="ml.c5.large"), runs.prepare()
    deploy(runs.prepare())
    deploy(same)
    with pytest.raises(DeploymentError, match=r"another deployment .* won"):
        deploy(loser)


def test_an_endpoint_that_is_deleted_meanwhile_is_said_so(houses: Deployed, runs: Runs):
    prepared = runs.prepare(instance_type="ml.c5.large")
    houses.mme("delete", "--yes")
    with pytest.raises(HostingError, match=r"was deleted meanwhile|Could not find"):
        deploy(prepared)


def test_other_changes_are_waited_for_before_the_plan(houses: Deployed, runs: Runs):
    runs.aws.call(
        "sagemaker",
        "UpdateEndpointWeightsAndCapacities",
        "the instances",
        EndpointName=houses.name,
        DesiredWeightsAndCapacities=[{"VariantName": "main", "DesiredInstanceCount": 2}],
    )
    prepared = runs.prepare(instance_type="ml.c5.large")
    assert "by another run: this one waits for its end" in runs.lines.said[-1]
    assert prepared.present.endpoint
    assert (prepared.present.endpoint.status, prepared.present.endpoint.desired) == ("InService", 2)


SCALED = 'The variant(s) "[main]" must be deregistered as scalable targets with AWS Auto Scaling.'


def refuse(runs: Runs, times: int = 1, **refusals: tuple[str, str]) -> Refusals:
    made = Refusals(refusals, times)
    made.install(runs.aws.client("sagemaker"), runs.aws.client("application-autoscaling"))
    return made


def test_what_aws_refuses_for_a_moment_is_tried_again(
    houses: Deployed, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(patience, "_PAUSE", 0.01)
    runs = Runs(houses.name)
    scaled = {"autoscaling": {"max": 2}}
    first = runs.prepare(**scaled)
    absent = f"Could not find endpoint configuration {first.wanted.config_name}"
    refusals = refuse(
        runs,
        times=2,
        CreateEndpointConfig=(
            "ValidationException",
            f"Could not find model {first.wanted.model_name}",
        ),
        CreateEndpoint=("ValidationException", absent),
        RegisterScalableTarget=("ConcurrentUpdateException", "Another change is under way."),
        PutScalingPolicy=("ObjectNotFoundException", "No scalable target is registered."),
        UpdateEndpoint=("ValidationException", SCALED),
    )
    deploy(first)
    deploy(runs.prepare(**scaled, instance_type="ml.c5.large"))
    assert set(refusals.refused.values()) == {2}
    assert len(refusals.refused) == 5
    again = [line for line in runs.lines.said if "is not possible yet, and tried again" in line]
    assert len(again) == 5
    assert runs.prepare(**scaled, instance_type="ml.c5.large").plan.steps == ()


def test_what_aws_refuses_for_longer_than_a_moment_ends_the_run(
    houses: Deployed, runs: Runs, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(patience, "_PAUSE", 0.01)
    monkeypatch.setattr(patience, "_SECONDS", 0.1)
    refusals = refuse(
        runs, times=1000, RegisterScalableTarget=("ConcurrentUpdateException", "Not now.")
    )
    with pytest.raises(HostingError, match="Not now"):
        deploy(runs.prepare(autoscaling={"max": 2}))
    assert refusals.refused["RegisterScalableTarget"] > 1


def test_an_update_that_sagemaker_takes_back_without_a_reason_is_not_another_deployment(
    houses: Deployed, runs: Runs
):
    before = houses.described["EndpointConfigName"]
    events = runs.aws.client("sagemaker").meta.events
    events.register(
        "after-call.sagemaker.DescribeEndpoint",
        lambda parsed, **_: parsed.pop("FailureReason", None),
    )
    with pytest.raises(DeploymentError, match=f"gone back: .* with {before}.*not say why") as ended:
        deploy(runs.prepare(environment={"MME_HOSTS": "nonsense"}))
    assert any("MME_HOSTS" in line for line in ended.value.log)
