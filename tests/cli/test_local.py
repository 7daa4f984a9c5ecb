"""`mme local`: up, exec, status, logs and down, as their users type them."""

from __future__ import annotations

import json

import httpx
import pytest

from support.local_up import Local, mme, up
from support.serving import until

SHOW = "import json, os; print(json.dumps(dict(os.environ)))"
NOTHING = "mme: no local SageMaker runs here: start one by mme local up --detach\n"


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    with up(tmp_path_factory.mktemp("up")) as running:
        yield running


@pytest.mark.parametrize(
    "arguments", [("exec", "--", "true"), ("status",), ("status", "--json"), ("logs",), ("down",)]
)
def test_nothing_runs(tmp_path, arguments):
    found = mme(tmp_path, *arguments)
    assert (found.returncode, found.stdout, found.stderr) == (2, "", NOTHING)


def test_in_the_background_and_down(tmp_path):
    run = tmp_path / "run"
    found = mme(run, "up", "--detach", "--port", "0")
    assert found.returncode == 0, found.stderr
    assert "mme local exec -- aws s3 ls" in found.stdout
    address = json.loads((run / "address.json").read_text())
    try:
        assert httpx.get(f"{address['sagemaker']}/_mme/state", trust_env=False).status_code == 200
        assert "ready at http://127.0.0.1:" in mme(run, "logs").stdout
    finally:
        ended = mme(run, "down")
    assert (ended.returncode, ended.stdout) == (0, f"ended: {address['sagemaker']}\n")
    assert mme(run, "status").stderr == NOTHING


def test_exec_gives_the_environment_and_the_status(local: Local):
    found = local.exec("python3", "-c", SHOW, AWS_SAGEMAKER_ROLE="mine")
    environment = json.loads(found.stdout)
    assert environment["AWS_ENDPOINT_URL_SAGEMAKER"] == local.address.sagemaker
    assert environment["AWS_ENDPOINT_URL"] == local.address.aws
    assert environment["AWS_SAGEMAKER_ROLE"] == "mine"
    assert local.exec("sh", "-c", "exit 7").returncode == 7


def test_exec_passes_options_on(local: Local):
    found = local.exec("echo", "--help", "-x", "--", "--port", "1")
    assert found.stdout == "--help -x -- --port 1\n"


@pytest.mark.parametrize(
    ("program", "status", "reason"),
    [
        ("no-such-program", 127, "mme: there is no program no-such-program\n"),
        ("/etc/passwd", 126, "mme: /etc/passwd cannot be run: Permission denied\n"),
    ],
)
def test_exec_of_what_cannot_be_run(local: Local, program, status, reason):
    found = local.exec(program)
    assert (found.returncode, found.stderr) == (status, reason)


def test_status_for_a_person_and_for_a_program(local: Local):
    shown = local.mme("status").stdout
    assert local.address.sagemaker in shown
    assert "no endpoints" in shown
    assert "no training jobs" in shown
    found = json.loads(local.mme("status", "--json").stdout)
    assert found["address"]["aws"] == found["aws_endpoint"] == local.address.aws
    assert found["endpoints"] == found["training_jobs"] == []


def test_status_shows_a_job_and_logs_show_its_lines(local: Local):
    s3, sagemaker = local.client("s3"), local.client("sagemaker")
    bucket = local.address.bucket
    rows = "".join(f"{3 * value},{value}\n" for value in range(50))
    s3.put_object(Bucket=bucket, Key="data/rows.csv", Body=rows)
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/data/"}
    sagemaker.create_training_job(
        TrainingJobName="line",
        AlgorithmSpecification={"TrainingImage": "xgboost-mme:cpu", "TrainingInputMode": "File"},
        RoleArn=local.address.role,
        HyperParameters={"objective": "reg:squarederror", "num_round": "2"},
        InputDataConfig=[
            {
                "ChannelName": "train",
                "ContentType": "text/csv",
                "DataSource": {"S3DataSource": source},
            }
        ],
        OutputDataConfig={"S3OutputPath": f"s3://{bucket}/out/"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 120},
    )

    def ended() -> bool:
        job = sagemaker.describe_training_job(TrainingJobName="line")
        assert job["TrainingJobStatus"] in ("InProgress", "Completed"), job
        return job["TrainingJobStatus"] == "Completed"

    until(ended, 90, "the end of the job")
    (row,) = [line for line in local.mme("status").stdout.splitlines() if "line" in line]
    assert "Completed" in row
    assert "train:rmse" in row
    lines = local.mme("logs", "line").stdout
    assert "line/algo-1" in lines
    assert "train-rmse" in lines
    assert "named nothing has written a line" in local.mme("logs", "nothing").stderr


def test_logs_of_one_in_the_foreground(local: Local):
    assert "runs in the foreground" in local.mme("logs").stderr


def test_down_ends_one_in_a_terminal_too(tmp_path):
    with up(tmp_path) as local:
        assert local.mme("down").returncode == 0
        assert local.process.wait(10) == 0
