from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError

from mme_local.control.records import TrainingJob
from mme_local.errors import LocalError
from support.local_api import LocalApi
from support.local_requests import ROLE, training_job

ARN = "arn:aws:sagemaker:us-east-1:123456789012:training-job/chicago"
QUICKLY = {"Delay": 0, "MaxAttempts": 100}
ARTIFACTS = "s3://houses/out/chicago/output/model.tar.gz"


def error_of(call: Any, **request: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as raised:
        call(**request)
    error = raised.value.response["Error"]
    return error["Code"], error["Message"]


def complete(job: TrainingJob) -> None:
    now = time.time()
    job.update(
        status="Completed",
        secondary="Completed",
        started=now - 10,
        ended=now,
        artifacts=ARTIFACTS,
        metrics=[{"MetricName": "validation:rmse", "Value": 1.5, "Timestamp": now}],
        transitions=[{"Status": "Training", "StartTime": now - 10, "EndTime": now}],
    )
    job.ended_event.set()


def test_a_job_is_created_and_described(api: LocalApi, sagemaker: Any) -> None:
    assert sagemaker.create_training_job(**training_job())["TrainingJobArn"] == ARN
    described = sagemaker.describe_training_job(TrainingJobName="chicago")
    assert described["TrainingJobStatus"] == "InProgress"
    assert described["SecondaryStatus"] == "Starting"
    assert described["ModelArtifacts"] == {"S3ModelArtifacts": ARTIFACTS}
    assert described["EnableManagedSpotTraining"] is False
    for member in (
        "HyperParameters",
        "AlgorithmSpecification",
        "InputDataConfig",
        "OutputDataConfig",
        "ResourceConfig",
        "StoppingCondition",
        "RoleArn",
    ):
        assert described[member] == training_job()[member]
    for member in ("FailureReason", "TrainingStartTime", "TrainingTimeInSeconds"):
        assert member not in described
    assert [job.name for job in api.jobs.started] == ["chicago"]


def test_a_job_that_completes(api: LocalApi, sagemaker: Any) -> None:
    sagemaker.create_training_job(**training_job())
    api.on_loop(lambda: complete(api.jobs.started[0]))
    sagemaker.get_waiter("training_job_completed_or_stopped").wait(
        TrainingJobName="chicago", WaiterConfig=QUICKLY
    )
    described = sagemaker.describe_training_job(TrainingJobName="chicago")
    assert described["TrainingTimeInSeconds"] == described["BillableTimeInSeconds"] == 10
    assert described["FinalMetricDataList"][0]["Value"] == 1.5
    assert described["SecondaryStatusTransitions"][0]["Status"] == "Training"
    assert described["TrainingEndTime"] <= described["LastModifiedTime"]


def test_a_job_that_fails_says_why(api: LocalApi, sagemaker: Any) -> None:
    sagemaker.create_training_job(**training_job())
    reason = "AlgorithmError: no"
    api.on_loop(
        lambda: api.jobs.started[0].update(
            status="Failed", secondary="Failed", failure_reason=reason
        )
    )
    with pytest.raises(WaiterError, match="Failed"):
        sagemaker.get_waiter("training_job_completed_or_stopped").wait(
            TrainingJobName="chicago", WaiterConfig=QUICKLY
        )
    assert sagemaker.describe_training_job(TrainingJobName="chicago")["FailureReason"] == reason


@pytest.mark.parametrize("error", [LocalError("No room."), RuntimeError("No room.")])
def test_a_job_that_cannot_be_started_has_failed(
    api: LocalApi, sagemaker: Any, error: Exception
) -> None:
    api.jobs.error = error
    sagemaker.create_training_job(**training_job())
    described = sagemaker.describe_training_job(TrainingJobName="chicago")
    assert described["TrainingJobStatus"] == described["SecondaryStatus"] == "Failed"
    assert described["FailureReason"] == "InternalServerError: No room."


def test_a_job_is_stopped(api: LocalApi, sagemaker: Any) -> None:
    sagemaker.create_training_job(**training_job())
    for _ in range(2):
        sagemaker.stop_training_job(TrainingJobName="chicago")
    described = sagemaker.describe_training_job(TrainingJobName="chicago")
    assert described["TrainingJobStatus"] == described["SecondaryStatus"] == "Stopping"
    assert api.jobs.stopped == ["chicago"]
    api.on_loop(lambda: api.jobs.started[0].update(status="Stopped", secondary="Stopped"))
    assert error_of(sagemaker.stop_training_job, TrainingJobName="chicago") == (
        "ValidationException",
        "The request was rejected because the training job is in status Stopped.",
    )


def test_names_are_unique(sagemaker: Any) -> None:
    sagemaker.create_training_job(**training_job())
    with pytest.raises(sagemaker.exceptions.ResourceInUse) as raised:
        sagemaker.create_training_job(**training_job())
    assert raised.value.response["Error"]["Message"] == (
        "Training job names must be unique within an AWS account and region, and a training job "
        f"with this name already exists ({ARN})"
    )


def test_ten_at_once_with_one_name_make_one(api: LocalApi, sagemaker: Any) -> None:
    async def often() -> list[Any]:
        calls = [api.plane.call("CreateTrainingJob", training_job()) for _ in range(10)]
        return await asyncio.gather(*calls, return_exceptions=True)

    answers = api.wait(often())
    assert sum(isinstance(answer, dict) for answer in answers) == 1
    assert len(api.jobs.started) == 1


def test_a_job_that_is_not_there(sagemaker: Any) -> None:
    missing = ("ValidationException", "Requested resource not found.")
    for call in (sagemaker.describe_training_job, sagemaker.stop_training_job):
        assert error_of(call, TrainingJobName="gone") == missing


def test_an_instance_type_that_only_hosts_is_refused_with_the_nearest_that_trains(
    sagemaker: Any,
) -> None:
    resources = {"InstanceType": "ml.t2.medium", "InstanceCount": 1, "VolumeSizeInGB": 5}
    request = training_job(ResourceConfig=resources)
    _, message = error_of(sagemaker.create_training_job, **request)
    assert "Value 'ml.t2.medium' at 'resourceConfig.instanceType' failed" in message
    assert message.endswith("the nearest that can is ml.t3.medium.")


def test_a_channel_needs_objects(sagemaker: Any) -> None:
    request = training_job()
    source = request["InputDataConfig"][0]["DataSource"]["S3DataSource"]
    source["S3Uri"] = "s3://houses/nothing"
    _, message = error_of(sagemaker.create_training_job, **request)
    assert message == (
        'No S3 objects found under S3 URL "s3://houses/nothing" given in input data source. Please '
        "ensure that the bucket exists in the selected region (us-east-1), that objects exist "
        f'under that S3 prefix, and that the role "{ROLE}" has "s3:ListBucket" permissions on '
        'bucket "houses".'
    )
    source["S3Uri"] = "s3://nowhere/nothing"
    _, message = error_of(sagemaker.create_training_job, **request)
    assert 'bucket "nowhere"' in message


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"RoleArn": ROLE + "2"}, f"Could not assume role {ROLE}2."),
        (
            {"AlgorithmSpecification": {"AlgorithmName": "a", "TrainingInputMode": "File"}},
            "must give TrainingImage",
        ),
        ({"ResourceConfig": {"VolumeSizeInGB": 5}}, "ResourceConfig must give InstanceType"),
        (
            {"InputDataConfig": training_job()["InputDataConfig"] * 2},
            "Channel names must be unique: train is there twice.",
        ),
        (
            {"HyperParameters": {"key": "x" * 2501}},
            "at 'hyperParameters' failed to satisfy constraint: Map value must satisfy constraint: "
            "[Member must have length less than or equal to 2500, Member must have length greater "
            "than or equal to 0, Member must satisfy regular expression pattern: .*, Member must "
            "not be null]",
        ),
    ],
)
def test_jobs_that_are_refused(
    api: LocalApi, sagemaker: Any, members: dict[str, Any], message: str
) -> None:
    code, text = error_of(sagemaker.create_training_job, **training_job(**members))
    assert code == "ValidationException"
    assert message in text
    assert api.jobs.started == []


def test_what_a_request_may_leave_out(sagemaker: Any) -> None:
    request = training_job()
    for member in ("StoppingCondition", "InputDataConfig", "HyperParameters"):
        del request[member]
    sagemaker.create_training_job(**request)
    described = sagemaker.describe_training_job(TrainingJobName="chicago")
    assert described["StoppingCondition"] == {"MaxRuntimeInSeconds": 86400}
    assert "InputDataConfig" not in described


def test_jobs_are_listed_as_aws_lists_them(api: LocalApi, sagemaker: Any) -> None:
    for name in ("a", "b", "c"):
        sagemaker.create_training_job(**training_job(name))
    api.on_loop(lambda: complete(api.jobs.started[1]))
    oldest_first = sagemaker.list_training_jobs()["TrainingJobSummaries"]
    assert [one["TrainingJobName"] for one in oldest_first] == ["a", "b", "c"]
    (done,) = sagemaker.list_training_jobs(StatusEquals="Completed")["TrainingJobSummaries"]
    assert (done["TrainingJobName"], done["SecondaryStatus"]) == ("b", "Completed")
    assert "TrainingEndTime" in done
    pooled = sagemaker.list_training_jobs(WarmPoolStatusEquals="InUse")
    assert pooled["TrainingJobSummaries"] == []
