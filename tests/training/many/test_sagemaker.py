"""The engine against S3 and SageMaker over HTTP: moto's, on a busy day."""

from __future__ import annotations

import io
import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mme_training.errors import UserError
from mme_training.houses import FEATURES, LABEL, make_houses
from mme_training.many.work import Plan, Record, Segment
from support.aws import ROLE
from support.sagemaker import (
    BusySageMaker,
    Fate,
    refusal,
)
from support.sagemaker_bench import ROWS, Bench, fingerprint, name_of


def test_each_segment_gets_a_job_and_a_record(busy: BusySageMaker, s3: Any, bench: Bench) -> None:
    name = name_of("City_1", 1)
    s3.put_object(Bucket="rows", Key=f"many/output/{name}/output/model.tar.gz", Body=b"seven b")

    records = bench.run(3)

    assert len(bench.records) == len(records) == 3
    assert records["City_1"] == Record(
        segment="City_1",
        fingerprint=fingerprint(bench.segments(2)[1]),
        train_rows=12,
        validation_rows=6,
        test_rows=2,
        metrics={"validation-rmse": 0.5},
        path=f"s3://rows/many/output/{name}/output/model.tar.gz",
        size=7,
        seconds=61.0,
        version="3.1.2",
    )
    assert bench.statuses("City_1") == ["Starting", "Completed"]


def test_the_job_reads_what_was_uploaded(busy: BusySageMaker, s3: Any, bench: Bench) -> None:
    bench.run(1)

    asked = busy.requests[0]
    assert asked["RoleArn"] == ROLE
    assert asked["HyperParameters"] == {"num_round": "5", "eval_metric": '["rmse"]'}
    parts = {}
    for channel in asked["InputDataConfig"]:
        assert channel["ContentType"] == "application/x-parquet"
        uri = channel["DataSource"]["S3DataSource"]["S3Uri"]
        (found,) = s3.list_objects_v2(Bucket="rows", Prefix=uri.removeprefix("s3://rows/"))[
            "Contents"
        ]
        body = s3.get_object(Bucket="rows", Key=found["Key"])["Body"].read()
        parts[channel["ChannelName"]] = pd.read_parquet(io.BytesIO(body))
    assert {name: len(part) for name, part in parts.items()} == {"train": 12, "validation": 6}
    assert list(parts["train"].columns) == [LABEL, *FEATURES]
    houses = make_houses("Chicago_IL", 400).head(ROWS)
    learnt = pd.concat(parts.values()).reset_index(drop=True)
    assert len(learnt.merge(houses.drop_duplicates(), how="inner")) == 18
    assert len(learnt.drop_duplicates()) == 18
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket="rows")["Contents"]]
    assert sum("/test/test.parquet" in key for key in keys) == 1


@pytest.mark.parametrize("at_once", [1, 3])
def test_no_more_jobs_than_asked_for_run(busy: BusySageMaker, bench: Bench, at_once: int) -> None:
    busy.fate_of = lambda name: Fate(looks=1 + len(busy.jobs) % 3)

    assert len(bench.run(6, at_once=at_once)) == 6
    assert busy.most_running == at_once


def test_looks_cost_few_calls(busy: BusySageMaker, bench: Bench) -> None:
    busy.fate_of = lambda name: Fate(looks=10)

    bench.run(5, poll=15)

    assert busy.calls["CreateTrainingJob"] == busy.calls["DescribeTrainingJob"] == 5
    assert busy.calls["ListTrainingJobs"] == 11  # One to find older jobs, one for each look.
    assert bench.pauses == [15.0] * 10


def test_a_failed_job_is_tried_again_under_a_new_name(busy: BusySageMaker, bench: Bench) -> None:
    busy.fate_of = lambda name: (
        Fate() if name.endswith("-2") else Fate(status="Failed", reason="InternalServerError: oh")
    )

    record = bench.run(1)["City_0"]

    assert list(busy.jobs) == [name_of("City_0", 0), name_of("City_0", 0, 2)]
    assert record.error is None
    assert record.attempts == 2
    assert bench.statuses("City_0") == ["Starting", "Failed", "Starting", "Completed"]


def test_the_reason_of_the_last_failure_is_kept(busy: BusySageMaker, bench: Bench) -> None:
    reason = "AlgorithmError: line 7 has 3 columns, exit code: 1"
    busy.fate_of = lambda name: Fate(status="Failed", reason=reason) if "City-1" in name else Fate()

    records = bench.run(3, retries=2)

    assert records["City_1"].error == reason
    assert records["City_1"].attempts == 3
    assert records["City_1"].path is None
    assert records["City_1"].seconds == 61
    assert [records[name].error for name in ("City_0", "City_2")] == [None, None]


@pytest.mark.parametrize(
    ("fate", "said"),
    [
        (Fate(status="Failed", reason="ClientError: no such objective"), "no such objective"),
        (Fate(status="Stopped", secondary="MaxRuntimeExceeded"), "raise max_runtime"),
    ],
)
def test_what_would_fail_again_is_not_tried_again(
    busy: BusySageMaker, bench: Bench, fate: Fate, said: str
) -> None:
    busy.fate_of = lambda name: fate

    record = bench.run(1, retries=5)["City_0"]

    assert said in str(record.error)
    assert len(busy.jobs) == 1


def test_a_stopped_job_is_tried_again(busy: BusySageMaker, bench: Bench) -> None:
    busy.fate_of = lambda name: Fate(status="Stopped")

    assert bench.run(1)["City_0"].error == "Stopped, and SageMaker gives no reason"
    assert len(busy.jobs) == 2


def test_resuming_takes_up_the_jobs_that_are_there(busy: BusySageMaker, bench: Bench) -> None:
    # Under way, completed, failed, and one that is still to be made.
    fates = [Fate(looks=5), Fate(), Fate(status="Failed", reason="InternalServerError"), Fate()]
    busy.fate_of = lambda name: fates[len(busy.jobs)] if len(busy.jobs) < 4 else Fate()
    bench.run(3, wait=False)
    for fate in busy.jobs.values():
        fate.looks -= 1

    records = bench.run(4)

    assert all(record.error is None for record in records.values())
    assert [records[f"City_{i}"].attempts for i in range(4)] == [1, 1, 2, 1]
    assert sorted(busy.jobs) == sorted(
        [
            *(name_of(f"City_{i}", i) for i in range(4)),
            name_of("City_2", 2, 2),
        ]
    )
    assert "1 jobs are under way and 2 have ended" in bench.notes


def test_resuming_when_all_is_done_makes_no_job(busy: BusySageMaker, bench: Bench) -> None:
    first = bench.run(3)

    assert bench.run(3) == first
    assert len(busy.jobs) == 3


def test_other_rows_get_another_job(busy: BusySageMaker, bench: Bench) -> None:
    bench.run(1)
    changed = Segment("City 0", "City_0", bench.file, 40, ROWS)

    bench.run([changed])

    assert len(busy.jobs) == 2


def test_a_job_made_by_somebody_meanwhile_is_taken_up(busy: BusySageMaker, bench: Bench) -> None:
    bench.run(1, wait=False)
    busy.refuse["ListTrainingJobs"] = [(200, {"TrainingJobSummaries": []})]

    record = bench.run(1)["City_0"]

    assert record.error is None
    assert len(busy.jobs) == 1
    assert "exists already" in bench.notes


def test_more_jobs_than_a_page_are_found(busy: BusySageMaker, bench: Bench) -> None:
    busy.page = 3
    bench.run(8, wait=False)

    assert len(bench.run(8)) == 8
    assert busy.calls["CreateTrainingJob"] == 8
    assert busy.calls["ListTrainingJobs"] == 1 + 3 + 3


def test_rows_are_uploaded_once(busy: BusySageMaker, s3: Any, bench: Bench) -> None:
    busy.refuse["CreateTrainingJob"] = [refusal("ValidationException", "no")]
    with pytest.raises(UserError):
        bench.run(1)
    before = {o["Key"]: o["LastModified"] for o in s3.list_objects_v2(Bucket="rows")["Contents"]}
    key = next(key for key in before if "validation" in key)
    s3.put_object(Bucket="rows", Key=key, Body=b"cut short")
    s3.put_bucket_versioning(Bucket="rows", VersioningConfiguration={"Status": "Enabled"})

    bench.run(1)

    new = [
        version["Key"]
        for version in s3.list_object_versions(Bucket="rows")["Versions"]
        if version["VersionId"] != "null"
    ]
    assert new == [key]
    assert s3.head_object(Bucket="rows", Key=key)["ContentLength"] > 100


def test_an_interruption_leaves_the_jobs(busy: BusySageMaker, bench: Bench) -> None:
    busy.fate_of = lambda name: Fate(looks=3)
    bench.on_pause = lambda: signal.raise_signal(signal.SIGINT)

    # What starts the tests may ignore SIGINT, as shells do for what is in background.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            bench.run(5, at_once=3)
    finally:
        signal.signal(signal.SIGINT, before)

    assert "3 jobs go on in SageMaker: the same command takes them up" in bench.notes
    assert bench.records == []
    assert busy.calls["StopTrainingJob"] == 0
    bench.on_pause = lambda: None
    assert len(bench.run(5, at_once=3)) == 5
    assert len(busy.jobs) == 5


def test_too_few_rows_cost_only_their_segment(busy: BusySageMaker, bench: Bench) -> None:
    good, small, least = bench.segments(3)
    small = Segment(small.key, small.name, small.file, small.start, 2)
    least = Segment(least.key, least.name, least.file, least.start, 3)

    records = bench.run([good, small, least])

    assert "2 rows cannot be split" in str(records["City_1"].error)
    assert [records[name].error for name in ("City_0", "City_2")] == [None, None]
    assert len(busy.jobs) == 2


def test_archives_are_copied_but_never_over_another(
    busy: BusySageMaker, s3: Any, bench: Bench
) -> None:
    for i in range(2):
        key = f"many/output/{name_of(f'City_{i}', i)}/output/model.tar.gz"
        s3.put_object(Bucket="rows", Key=key, Body=f"model {i}".encode())
    s3.put_object(Bucket="rows", Key="models/City_1.tar.gz", Body=b"older")

    records = bench.run(2, models_prefix="s3://rows/models")

    def read(name: str) -> bytes:
        return bytes(s3.get_object(Bucket="rows", Key=f"models/{name}.tar.gz")["Body"].read())

    assert records["City_0"].path == "s3://rows/models/City_0.tar.gz"
    assert read("City_0") == b"model 0"
    assert str(records["City_1"].path).startswith("s3://rows/many/output/")
    assert read("City_1") == b"older"
    assert "is not overwritten" in bench.notes
    # Its own copy is known by the job it is of.
    assert bench.run(1, models_prefix="s3://rows/models")["City_0"].path == records["City_0"].path


def test_a_deleted_archive_is_made_anew_and_costs_no_other(
    busy: BusySageMaker, s3: Any, bench: Bench
) -> None:
    for name in (name_of("City_0", 0, 2), name_of("City_1", 1)):
        s3.put_object(Bucket="rows", Key=f"many/output/{name}/output/model.tar.gz", Body=b"model")

    records = bench.run(3, models_prefix="s3://rows/models", retries=1)

    assert records["City_0"].attempts == 2
    assert records["City_1"].path == "s3://rows/models/City_1.tar.gz"
    assert "is not there any more" in str(records["City_2"].error)


def test_a_deleted_job_is_made_anew(busy: BusySageMaker, bench: Bench) -> None:
    busy.fate_of = lambda name: Fate(looks=9)

    def delete() -> None:
        if len(bench.pauses) == 1:
            busy.refuse["DescribeTrainingJob"] = [
                refusal("ValidationException", "Requested resource not found.")
            ]
            busy.refuse["ListTrainingJobs"] = [(200, {"TrainingJobSummaries": []})]
            busy.fate_of = lambda name: Fate()

    bench.on_pause = delete

    assert bench.run(1)["City_0"].attempts == 2


def test_extra_files_are_refused(busy: BusySageMaker, bench: Bench, tmp_path: Path) -> None:
    bench.plan = Plan(LABEL, FEATURES, {}, tmp_path, extra={"mme.toml": tmp_path / "mme.toml"})

    with pytest.raises(UserError, match=r"mme\.toml"):
        bench.run(1)


def test_spot_keys_and_network_are_accepted(busy: BusySageMaker, s3: Any, bench: Bench) -> None:
    bench.run(
        1,
        spot=True,
        max_runtime=600,
        kms_key="alias/rows",
        subnets=["subnet-1"],
        security_groups=["sg-1"],
        network_isolation=True,
        tags={"team": "prices"},
        input_mode="FastFile",
    )

    asked = busy.requests[0]
    assert asked["StoppingCondition"] == {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 1200}
    assert asked["EnableManagedSpotTraining"] is True
    assert asked["CheckpointConfig"]["S3Uri"].startswith("s3://rows/many/data/City_0/")
    assert asked["OutputDataConfig"]["KmsKeyId"] == "alias/rows"
    assert asked["VpcConfig"] == {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    assert asked["EnableNetworkIsolation"] is True
    assert asked["Tags"] == [{"Key": "team", "Value": "prices"}]
    key = s3.list_objects_v2(Bucket="rows")["Contents"][0]["Key"]
    assert s3.head_object(Bucket="rows", Key=key)["SSEKMSKeyId"] == "alias/rows"
