"""Training jobs in a Docker engine."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator

import docker
import pytest

from mme_local.containers.docker import DockerRuntime
from support.local_jobs import BUCKET, Jobs, channel, make_job

pytestmark = pytest.mark.container


@pytest.fixture
def in_docker(jobs: Jobs) -> Iterator[dict]:
    client = docker.from_env()
    run, image = jobs.settings.run, os.environ.get("MME_TEST_IMAGE", jobs.settings.image)
    yield {"runtime": lambda: DockerRuntime(client, run, image), "at_once": 4}
    client.close()


def test_a_job_and_one_with_code_of_the_sdks_kind(jobs, in_docker) -> None:
    archive = io.BytesIO()
    program = b"import os; open(os.environ['SM_MODEL_DIR'] + '/made', 'w').close(); print('made')"
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        member = tarfile.TarInfo("go.py")
        member.size = len(program)
        tar.addfile(member, io.BytesIO(program))
    jobs.put("source/sourcedir.tar.gz", archive.getvalue())
    code = {
        "sagemaker_submit_directory": f'"s3://{BUCKET}/source/sourcedir.tar.gz"',
        "sagemaker_program": '"go.py"',
    }
    plain, script = make_job("plain"), make_job("Script", hyperparameters=code)
    jobs.train(plain, script, **in_docker)
    assert (plain.status, plain.failure_reason) == ("Completed", None)
    assert (script.status, script.failure_reason) == ("Completed", None)
    assert jobs.archive(plain.artifacts) == ["xgboost-model"]
    assert jobs.archive(script.artifacts) == ["made"]
    assert {each["MetricName"] for each in plain.metrics} == {"train:rmse", "validation:rmse"}
    ((stream, lines),) = jobs.logs("plain").items()
    assert stream.startswith("plain/algo-1-")
    assert any("#011train-rmse:" in line for line in lines)


def test_two_hosts(jobs, in_docker) -> None:
    for number in range(2):
        jobs.put_houses(f"pair/{number}", 100)
    uri = f"s3://{BUCKET}/pair/"
    train = channel("train", uri, S3DataDistributionType="ShardedByS3Key")
    job = make_job("pair", instances=2, InputDataConfig=[train])
    del job.request["HyperParameters"]["early_stopping_rounds"]
    jobs.train(job, **in_docker)
    assert (job.status, job.failure_reason) == ("Completed", None)
    assert jobs.archive(job.artifacts) == ["xgboost-model"]
    assert len(jobs.logs("pair")) == 2
