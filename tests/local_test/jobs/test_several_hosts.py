"""One job of several instances."""

from __future__ import annotations

import asyncio
import io
import tarfile

import pytest
import xgboost as xgb

from mme_training.houses import make_houses, write_csv
from support.local_jobs import BUCKET, Jobs, channel, make_job

SHARDED = {"S3DataDistributionType": "ShardedByS3Key"}


def _put_parts(jobs: Jobs, prefix: str) -> None:
    for number in range(2):
        body = io.StringIO()
        write_csv(make_houses(f"{prefix}-{number}", 100), body)
        jobs.put(f"{prefix}/train/{number}.csv", body.getvalue())


def _job(name: str):
    train = channel("train", f"s3://{BUCKET}/{name}/train/", **SHARDED)
    job = make_job(name, instances=2, InputDataConfig=[train])
    del job.request["HyperParameters"]["early_stopping_rounds"]
    return job


@pytest.mark.slow
def test_two_jobs_of_two_hosts_at_once(jobs) -> None:
    pair = [_job("one"), _job("two")]
    for job in pair:
        _put_parts(jobs, job.name)
    jobs.train(*pair, at_once=4)
    for job in pair:
        assert (job.status, job.failure_reason) == ("Completed", None)
        with tarfile.open(fileobj=io.BytesIO(jobs.get(job.artifacts))) as tar:
            model = tar.extractfile("xgboost-model").read()
        assert xgb.Booster(model_file=bytearray(model)).num_boosted_rounds() == 25
        assert [each["MetricName"] for each in job.metrics] == ["train:rmse"]
        streams = sorted(jobs.logs(job.name))
        assert [stream.rpartition("-")[0] for stream in streams] == [
            f"{job.name}/algo-1",
            f"{job.name}/algo-2",
        ]


def test_when_one_host_fails_the_other_is_ended(jobs, monkeypatch) -> None:
    monkeypatch.setattr("mme_local.jobs.training._ECHO", 0.5)
    program = """
import os, sys, time
if os.environ["SM_CURRENT_HOST"].endswith(".2"):
    sys.exit(3)
print("goes on", flush=True)
time.sleep(60)
"""
    jobs.put("code/train.py", program)
    code = channel("code", f"s3://{BUCKET}/code/")
    job = make_job("half", instances=2, InputDataConfig=[code])

    async def work(runner) -> None:
        await runner.start(job)
        await asyncio.wait_for(job.ended_event.wait(), 30)

    jobs.run(work)
    assert job.status == "Failed"
    assert job.failure_reason.endswith("exit code: 3")
