"""Whole jobs, trained by this installation's ``mme train``."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from mme_local.control.records import TrainingJob
from mme_local.jobs.runner import JobRunner
from mme_training.houses import FEATURES, LABEL, make_houses
from mme_training.split import split
from support.local_jobs import BUCKET, GROUP, Jobs, channel, make_job

WAITING = "import time; print('waiting', flush=True); time.sleep(60)"


def _booster(jobs: Jobs, job: TrainingJob) -> xgb.Booster:
    with tarfile.open(fileobj=io.BytesIO(jobs.get(job.artifacts))) as tar:
        return xgb.Booster(model_file=bytearray(tar.extractfile("xgboost-model").read()))


def _long(name: str, city: str = "Chicago_IL", **rest: Any) -> TrainingJob:
    """A job that does not end by itself."""
    job = make_job(name, city, **rest)
    del job.request["HyperParameters"]["early_stopping_rounds"]
    job.request["HyperParameters"]["num_round"] = "1000000"
    return job


def _script(jobs: Jobs, name: str, program: str, **rest: Any) -> TrainingJob:
    """A job that runs a script of the channel `code`."""
    jobs.put(f"{name}/code/train.py", program)
    return make_job(name, InputDataConfig=[channel("code", f"s3://{BUCKET}/{name}/code/")], **rest)


async def _until(job: TrainingJob, secondary: str) -> None:
    while job.secondary != secondary:
        await asyncio.sleep(0.01)


async def _until_round(runner: JobRunner, name: str) -> None:
    """Wait for a metric of the job."""
    while not next(each for each in runner.snapshot() if each["name"] == name)["metrics"]:
        await asyncio.sleep(0.02)


def _training_at_once(jobs: Jobs) -> list[int]:
    """After each event, how many jobs are in training."""
    now: set[str] = set()
    counts = [0]
    for event in jobs.events.recent:
        (now.add if event["secondary"] == "Training" else now.discard)(event["name"])
        counts.append(len(now))
    return counts


def test_a_job_trains(jobs) -> None:
    job = make_job("Chicago-1")
    jobs.train(job)

    assert (job.status, job.secondary, job.failure_reason) == ("Completed", "Completed", None)
    assert job.artifacts == f"s3://{BUCKET}/out/Chicago-1/output/model.tar.gz"
    assert job.created <= job.started <= job.ended
    assert [(each["Status"], each["StatusMessage"]) for each in job.transitions] == [
        ("Starting", "Preparing the instances for training"),
        ("Downloading", "Downloading input data"),
        ("Training", "Training image download completed. Training in progress."),
        ("Uploading", "Uploading generated training model"),
        ("Completed", "Training job completed"),
    ]
    parts = split(make_houses("Chicago_IL", 200), 1)
    predicted = _booster(jobs, job).predict(
        xgb.DMatrix(parts.validation[list(FEATURES)].to_numpy())
    )
    rmse = float(np.sqrt(np.mean((predicted - parts.validation[LABEL]) ** 2)))
    final = {each["MetricName"]: each["Value"] for each in job.metrics}
    assert set(final) == {"train:rmse", "validation:rmse"}
    assert final["validation:rmse"] == pytest.approx(rmse, rel=1e-3)

    ((stream, lines),) = jobs.logs("Chicago-1").items()
    assert stream.startswith("Chicago-1/algo-1-")
    rounds = [line for line in lines if line.startswith("[") and "#011train-rmse:" in line]
    assert len(rounds) == 25

    host = [{"Name": "Host", "Value": "Chicago-1/algo-1"}]
    measured = {
        each["MetricName"] for each in jobs.metrics.data[GROUP] if each["Dimensions"] == host
    }
    assert measured == {"CPUUtilization", "MemoryUtilization"}
    jobs.metrics.flush()
    seen = jobs.clients.client("cloudwatch").get_metric_statistics(
        Namespace=GROUP,
        MetricName="train:rmse",
        Dimensions=[{"Name": "TrainingJobName", "Value": "Chicago-1"}],
        StartTime=0,
        EndTime=job.ended + 60,
        Period=60,
        Statistics=["SampleCount", "Minimum"],
    )["Datapoints"]
    assert sum(point["SampleCount"] for point in seen) == 25
    assert min(point["Minimum"] for point in seen) == pytest.approx(final["train:rmse"])
    assert not list((jobs.settings.run / "jobs").iterdir())


def test_what_the_container_says_is_the_reason(jobs) -> None:
    jobs.put("bad/train/rows.csv", "1,2,3\n1,2,x\n")
    job = make_job("bad", "bad", InputDataConfig=[channel("train", f"s3://{BUCKET}/bad/train/")])
    jobs.train(job)
    assert (job.status, job.secondary) == ("Failed", "Failed")
    assert job.failure_reason.startswith("AlgorithmError: ")
    assert "rows.csv" in job.failure_reason
    assert job.failure_reason.endswith(", exit code: 1")
    assert job.artifacts is None
    assert not jobs.keys("out/")
    assert any("rows.csv" in line for lines in jobs.logs("bad").values() for line in lines)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (
            {"InputDataConfig": [channel("train", f"s3://{BUCKET}/nothing/")]},
            "ClientError: Data download failed:No S3 objects found",
        ),
        (
            {"AlgorithmSpecification": {"TrainingImage": "python:3.11"}},
            "ClientError: the image python:3.11 needs Docker",
        ),
        (
            {"OutputDataConfig": {"S3OutputPath": "s3://nowhere/x"}},
            "ClientError: Artifact upload failed:",
        ),
        (
            {"ResourceConfig": {"InstanceType": "ml.trn1.2xlarge", "InstanceCount": 1}},
            "ClientError: nothing is known here of the instance type",
        ),
    ],
)
def test_the_clients_errors(jobs, request_, reason: str) -> None:
    job = make_job("wrong", **request_)
    jobs.train(job)
    assert job.status == "Failed"
    assert job.failure_reason.startswith(reason)


def test_a_job_that_is_stopped_keeps_its_model(jobs) -> None:
    job = _long("stopped")

    async def work(runner: JobRunner) -> None:
        await runner.start(job)
        await _until_round(runner, "stopped")
        job.update(status="Stopping")  # as StopTrainingJob has it before the runner hears of it
        await runner.stop("stopped")
        assert (job.status, job.secondary) == ("Stopping", "Stopping")
        await runner.stop("stopped")
        await job.ended_event.wait()
        await runner.stop("stopped")
        await runner.stop("unknown")

    jobs.run(work)
    assert (job.status, job.secondary, job.failure_reason) == ("Stopped", "Stopped", None)
    assert [each["Status"] for each in job.transitions][-3:] == ["Stopping", "Uploading", "Stopped"]
    assert _booster(jobs, job).num_boosted_rounds() > 0
    assert job.metrics


def test_a_job_that_takes_too_long_is_stopped(jobs) -> None:
    job = _long("late", StoppingCondition={"MaxRuntimeInSeconds": 4})
    jobs.train(job)
    assert (job.status, job.secondary) == ("Stopped", "MaxRuntimeExceeded")
    assert job.failure_reason is None
    assert _booster(jobs, job).num_boosted_rounds() > 0


def test_a_script_with_its_environment_and_output(jobs) -> None:
    program = """
import json, os, pathlib
import boto3
model, output = (pathlib.Path(os.environ[name]) for name in ("SM_MODEL_DIR", "SM_OUTPUT_DATA_DIR"))
(model / "environment.json").write_text(json.dumps(dict(os.environ)))
(output / "report.txt").write_text("fine")
boto3.client("s3").upload_file(str(output / "report.txt"), "houses", "from-the-script")
print("loss = 0.25;")
"""
    definitions = {"MetricDefinitions": [{"Name": "loss", "Regex": r"loss = ([0-9.]+);"}]}
    job = _script(jobs, "script", program, environment={"MINE": "1"})
    job.request["AlgorithmSpecification"].update(definitions)
    jobs.train(job)
    assert job.status == "Completed"
    assert [(each["MetricName"], each["Value"]) for each in job.metrics] == [("loss", 0.25)]
    with tarfile.open(fileobj=io.BytesIO(jobs.get(job.artifacts))) as tar:
        environment = json.load(tar.extractfile("environment.json"))
    assert environment["TRAINING_JOB_NAME"] == "script"
    assert environment["TRAINING_JOB_ARN"] == job.arn
    assert environment["MINE"] == "1"
    assert environment["SM_CURRENT_HOST"] == "algo-1"
    assert jobs.archive(f"s3://{BUCKET}/out/script/output/output.tar.gz") == ["report.txt"]
    assert jobs.get(f"s3://{BUCKET}/from-the-script") == b"fine"


def test_the_output_of_a_script_that_fails_is_kept(jobs) -> None:
    program = """
import os, pathlib, sys
pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"], "trace").write_text("here")
sys.exit(7)
"""
    job = _script(jobs, "failing", program)
    jobs.train(job)
    assert job.status == "Failed"
    assert job.failure_reason.endswith(", exit code: 7")
    assert jobs.archive(f"s3://{BUCKET}/out/failing/output/output.tar.gz") == ["trace"]


def test_checkpoints_are_taken_up(jobs) -> None:
    config = {"S3Uri": f"s3://{BUCKET}/points"}
    hyperparameters = {"num_round": "4"}
    jobs.train(make_job("first", CheckpointConfig=config, hyperparameters=hyperparameters))
    assert jobs.keys("points/") == [f"points/xgboost-checkpoint.{number}" for number in range(4)]
    job = make_job("second", CheckpointConfig=config, hyperparameters={"num_round": "6"})
    jobs.train(job)
    assert _booster(jobs, job).num_boosted_rounds() == 6
    lines = next(iter(jobs.logs("second").values()))
    assert [line[:3] for line in lines if "#011" in line] == ["[4]", "[5]"]


def test_jobs_wait_for_their_turn_and_may_be_stopped_there(jobs) -> None:
    first = _script(jobs, "first", WAITING)
    second, third = make_job("second"), make_job("third")

    async def work(runner: JobRunner) -> None:
        for job in (first, second, third):
            await runner.start(job)
        await _until(first, "Training")
        assert second.secondary == third.secondary == "Starting"
        await runner.stop("second")
        await second.ended_event.wait()
        await runner.stop("first")
        await asyncio.gather(first.ended_event.wait(), third.ended_event.wait())

    jobs.run(work, at_once=1)
    assert [job.status for job in (first, second, third)] == ["Stopped", "Stopped", "Completed"]
    assert [each["Status"] for each in second.transitions] == ["Starting", "Stopping", "Stopped"]
    assert second.artifacts is None
    assert first.artifacts is None  # It has left no model.


def test_a_runner_that_is_closed_ends_its_jobs(jobs) -> None:
    job = _script(jobs, "left", WAITING)

    async def work(runner: JobRunner) -> None:
        await runner.start(job)
        await _until(job, "Training")

    jobs.run(work)
    assert job.status == "Failed"
    assert job.failure_reason.startswith("InternalServerError: ")


@pytest.mark.slow
def test_ten_jobs_at_once(jobs) -> None:
    """One fails, one is stopped, the others train a model each."""
    names = [f"city-{number}" for number in range(10)]
    for name in names:
        jobs.put_houses(name, rows=60)
    jobs.put("city-3/train/train.csv", "1,2\n1,x\n")
    ten = [_long(name, name) if name == "city-7" else make_job(name, name) for name in names]

    async def work(runner: JobRunner) -> None:
        for job in ten:
            await runner.start(job)
        await _until_round(runner, "city-7")
        await runner.stop("city-7")
        assert max(_training_at_once(jobs)) > 5
        await asyncio.gather(*(job.ended_event.wait() for job in ten))
        assert [each["name"] for each in runner.snapshot()] == names

    jobs.run(work, at_once=10)
    expected = dict.fromkeys(names, "Completed") | {"city-3": "Failed", "city-7": "Stopped"}
    assert {job.name: job.status for job in ten} == expected
    assert {job.name for job in ten if job.failure_reason} == {"city-3"}
    for job in ten:
        assert len(jobs.logs(job.name)) == 1
        if job.name != "city-3":
            assert _booster(jobs, job).num_boosted_rounds() > 0
            assert {each["MetricName"] for each in job.metrics} == {"train:rmse", "validation:rmse"}
    moved = [event for event in jobs.events.recent if event["kind"] == "training job"]
    assert {event["name"] for event in moved} == set(names)
