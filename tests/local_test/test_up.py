"""`mme local up` as a process: how soon it answers, where it listens, how it ends, what stays."""

from __future__ import annotations

import io
import os
import signal
import socket
import tarfile
import time
from typing import Any

import psutil
import pytest

from support.local_jobs import BUCKET as JOBS_BUCKET
from support.local_jobs import make_job
from support.local_up import Local, listening, mme, state, up
from support.models import ModelStore
from support.serving import until

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
BUCKET = "sagemaker-us-east-1-123456789012"
HOUSE = b"100,3,20,5,48,9\n"
HOUSES_CSV = b"".join(b"%d,%d,3\n" % (price, price % 7) for price in range(100))


def host(local: Local, name: str, model: ModelStore) -> None:
    """Make an endpoint with one model in its prefix, and wait until it serves."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        tar.add(model().file, "model.ubj")
    local.client("s3").put_object(
        Bucket=BUCKET, Key=f"{name}/Chicago_IL.tar.gz", Body=archive.getvalue()
    )
    sagemaker = local.client("sagemaker")
    sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn=local.address.role,
        PrimaryContainer={
            "Image": IMAGE,
            "Mode": "MultiModel",
            "ModelDataUrl": f"s3://{BUCKET}/{name}/",
        },
    )
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": name,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    wait_in_service(local, name)


def wait_in_service(local: Local, name: str) -> None:
    sagemaker = local.client("sagemaker")

    def serves() -> bool:
        found = sagemaker.describe_endpoint(EndpointName=name)
        assert found["EndpointStatus"] in ("Creating", "InService"), found
        return found["EndpointStatus"] == "InService"

    until(serves, 60, "the endpoint in service")


def invoke(local: Local, name: str) -> float:
    answer = local.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=name,
        TargetModel="Chicago_IL.tar.gz",
        ContentType="text/csv",
        Accept="text/csv",
        Body=HOUSE,
    )
    return float(answer["Body"].read())


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> ModelStore:
    store = ModelStore(tmp_path_factory.mktemp("store"))
    store.root.mkdir(parents=True)
    return store


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    with up(tmp_path_factory.mktemp("up")) as running:
        yield running


def test_it_answers_soon(tmp_path):
    start = time.monotonic()
    with up(tmp_path) as local:
        assert local.client("sagemaker").list_models()["Models"] == []
        assert time.monotonic() - start < 15
        assert "The local SageMaker is up" in until(lambda: local.said, 5, "the announcement")
        assert local.address.sagemaker in local.said


@pytest.mark.slow
def test_nothing_listens_off_loopback_and_all_of_it_ends(tmp_path, model):
    with up(tmp_path) as local:
        host(local, "houses", model)
        assert invoke(local, "houses") > 0
        processes = local.processes
        assert len(processes) > 3  # its own, AWS's services, the server and its own
        assert {ip.removeprefix("::ffff:") for ip in listening(processes)} == {"127.0.0.1"}
        assert local.stop() == 0
        _, alive = psutil.wait_procs(processes, 10)
        assert not alive
    assert not (local.run / "address.json").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(tmp_path, number):
    with up(tmp_path) as local:
        assert local.stop(number) == 0
        assert "Traceback" not in local.said


@pytest.mark.slow
def test_a_kill_leaves_no_process(tmp_path, model):
    with up(tmp_path) as local:
        host(local, "houses", model)
        processes = local.processes
        local.stop(signal.SIGKILL)
        _, alive = psutil.wait_procs(processes, 15)
        assert not alive
    with up(tmp_path) as again:
        assert again.client("sagemaker").list_endpoints()["Endpoints"] == []


def test_it_ends_when_the_services_of_aws_do(tmp_path):
    with up(tmp_path) as local:
        for child in psutil.Process(local.process.pid).children():
            if "mme_local.aws.child" in child.cmdline():
                os.kill(child.pid, signal.SIGKILL)
        assert local.process.wait(30) == 2
        assert "mme: the services of AWS have ended" in local.said


def test_there_is_one_for_a_directory(local):
    again = local.mme("up", "--port", "0")
    assert again.returncode == 2
    assert "a local SageMaker runs already in" in again.stderr
    assert local.mme("up", "--detach").returncode == 2


def test_a_port_that_is_taken_is_said(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for options in ((), ("--detach",)):
            found = mme(tmp_path / "run", "up", "--port", str(port), *options)
            assert found.returncode == 2
            assert f"mme: port {port} cannot be used" in found.stderr
            assert "Traceback" not in found.stderr


def test_a_setting_that_is_wrong_is_said(tmp_path):
    found = mme(tmp_path / "run", "up", MME_LOCAL_RUNTIME="podman")
    assert found.returncode == 2
    assert "mme: MME_LOCAL_RUNTIME: Input should be 'auto', 'docker' or 'embedded'" in found.stderr


@pytest.mark.parametrize("options", [(), ("--detach",)])
def test_a_parameter_of_the_platform_that_is_wrong_is_said(tmp_path, options):
    found = mme(tmp_path / "run", "up", *options, MME_LOCAL_PLATFORM_EVICTION="oldest")
    assert found.returncode == 2
    assert "MME_LOCAL_PLATFORM_EVICTION: Input should be 'lru' or 'lfu'" in found.stderr
    assert "Traceback" not in found.stderr


def test_directories_that_cannot_be_made_are_said(tmp_path):
    for run, options in (("/proc/x", ()), (tmp_path / "run", ("--state", "/proc/x"))):
        found = mme(run, "up", "--port", "0", *options)
        assert found.returncode == 2
        assert "/proc/x cannot be made" in found.stderr
        assert "Traceback" not in found.stderr


def train(local: Local, name: str, **hyperparameters: str) -> None:
    """Begin to train on a hundred houses."""
    local.client("s3").create_bucket(Bucket=JOBS_BUCKET)
    for part in ("train", "validation"):
        key = f"Chicago_IL/{part}/houses.csv"
        local.client("s3").put_object(Bucket=JOBS_BUCKET, Key=key, Body=HOUSES_CSV)
    job = make_job(name, hyperparameters=hyperparameters)
    local.client("sagemaker").create_training_job(**job.request)


@pytest.mark.slow
def test_a_training_job_is_stopped(tmp_path):
    """By the API, the control plane and the container together."""
    with up(tmp_path) as local:
        sagemaker = local.client("sagemaker")
        train(local, "chicago", num_round="1000000", early_stopping_rounds="1000000")

        def described():
            return sagemaker.describe_training_job(TrainingJobName="chicago")

        until(lambda: described()["SecondaryStatus"] == "Training", 60, "the training")
        sagemaker.stop_training_job(TrainingJobName="chicago")
        until(lambda: described()["TrainingJobStatus"] == "Stopped", 60, "the end")
        ends = [each["Status"] for each in described()["SecondaryStatusTransitions"]]
        assert ends[-3:] == ["Stopping", "Uploading", "Stopped"]
        assert described()["ModelArtifacts"]["S3ModelArtifacts"].endswith("model.tar.gz")


@pytest.mark.slow
def test_state_outlives_it(tmp_path, model):
    options = ("--state", str(tmp_path / "state"))
    with up(tmp_path, *options) as local:
        host(local, "houses", model)
        price = invoke(local, "houses")
        local.client("iam").create_user(UserName="ann")
        train(local, "chicago", num_round="2")
        assert local.stop() == 0
    with up(tmp_path, *options) as again:
        wait_in_service(again, "houses")
        assert invoke(again, "houses") == price
        assert [job["name"] for job in state(again)["training_jobs"]] == ["chicago"]
        assert again.client("iam").get_user(UserName="ann")["User"]["UserName"] == "ann"
        assert names_of(state(again)["endpoints"]) == ["houses"]


def test_without_it_all_is_forgotten(tmp_path):
    with up(tmp_path) as local:
        local.client("s3").create_bucket(Bucket="forgotten")
    with up(tmp_path) as again:
        names = names_of(again.client("s3").list_buckets()["Buckets"], "Name")
        assert names == [BUCKET]


def names_of(found: list[dict[str, Any]], member: str = "name") -> list[str]:
    return [each[member] for each in found]
