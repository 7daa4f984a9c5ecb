"""Deployments that are killed, interrupted, or not alone."""

from __future__ import annotations

import signal

import pytest

from support.deployments import Deployed, operations
from support.serving import until

pytestmark = pytest.mark.slow


def test_one_that_is_killed_is_taken_up_by_the_next(houses: Deployed):
    killed = houses.start("deploy")
    houses.wait_for("Creating")
    killed.kill()
    killed.communicate()
    said = houses.deploy()
    assert "is Creating with" in said["stderr"]
    assert "taken up" in said["stderr"]
    assert (said["steps"], said["status"]) == ([], "InService")


def test_one_that_is_killed_after_any_step_is_finished_by_the_next(houses: Deployed):
    killed = houses.start("deploy")
    until(lambda: houses.made(), 60, "a model")
    killed.kill()
    killed.communicate()
    assert houses.deploy()["status"] == "InService"
    assert len(houses.made()) == 2


def test_ctrl_c_says_that_sagemaker_goes_on(houses: Deployed):
    interrupted = houses.start("deploy", "--json")
    houses.wait_for("Creating")
    interrupted.send_signal(signal.SIGINT)
    stdout, stderr = interrupted.communicate(timeout=30)
    assert interrupted.returncode == 130
    assert "what SageMaker has begun goes on; mme deploy takes it up again" in stderr
    assert "Traceback" not in stderr
    assert '"failure": "interrupted' in stdout
    assert houses.deploy()["status"] == "InService"


def test_two_that_want_the_same_both_get_it(houses: Deployed):
    both = [houses.start("deploy") for _ in range(2)]
    ended = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    assert len(houses.made()) == 2
    assert houses.deploy()["steps"] == []


def test_of_two_that_want_different_things_one_wins_and_the_other_says_so(houses: Deployed):
    houses.deploy()
    one = houses.start("deploy", "--instance-type", "ml.m5.xlarge")
    two = houses.start("deploy", "--instance-type", "ml.c5.large")
    ended = [process.communicate(timeout=120) for process in (one, two)]
    statuses = [one.returncode, two.returncode]
    if statuses == [0, 0]:  # one came late enough to see the other's under way, and waited
        assert any("by another run: this one waits for its end" in err for _, err in ended)
        return
    assert sorted(statuses) == [0, 1], ended
    stderr = ended[statuses.index(1)][1]
    assert "another deployment" in stderr
    assert "won" in stderr
    winner = ("ml.m5.xlarge", "ml.c5.large")[statuses.index(0)]
    config = houses.sagemaker.describe_endpoint_config(
        EndpointConfigName=houses.described["EndpointConfigName"]
    )
    assert config["ProductionVariants"][0]["InstanceType"] == winner


def test_one_that_is_being_deleted_is_created_when_it_is_gone(houses: Deployed):
    houses.deploy()
    houses.sagemaker.delete_endpoint(EndpointName=houses.name)
    said = houses.deploy()
    assert operations(said) == ["CreateEndpoint"]
    assert said["status"] == "InService"


def test_a_failed_one_that_another_run_has_replaced_is_not_deleted(houses: Deployed):
    houses.describe_by(environment={"MME_HOSTS": "nonsense"})
    houses.deploy(status=1)
    houses.describe_by()
    both = [houses.start("deploy") for _ in range(2)]
    ended = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    assert houses.status == "InService"
