from __future__ import annotations

import pytest

from mme_local.jobs.errors import JobError
from mme_local.jobs.request import Location, plan
from support.local_jobs import channel, make_job


def _plan(**request):
    return plan("job", make_job("job", **request).request)


def test_what_was_asked_for() -> None:
    asked = _plan(
        instances=2,
        environment={"A": "1"},
        OutputDataConfig={"S3OutputPath": "s3://b/out/"},
        CheckpointConfig={"S3Uri": "s3://b/points"},
    )
    assert str(asked.output) == "s3://b/out/job/output"
    assert (asked.instance_type, asked.instance_count) == ("ml.m5.large", 2)
    assert asked.environment == {"A": "1"}
    assert asked.max_runtime == 3600
    assert asked.metric_definitions is None
    assert asked.compressed
    assert (str(asked.checkpoints), asked.checkpoint_path) == (
        "s3://b/points",
        "/opt/ml/checkpoints",
    )


@pytest.mark.parametrize(
    ("uri", "bucket", "key"),
    [
        ("s3://b/a/b.csv", "b", "a/b.csv"),
        ("s3://b", "b", ""),
        ("s3://b/", "b", ""),
        ("s3://data/data/x?y#z", "data", "data/x?y#z"),
    ],
)
def test_locations(uri: str, bucket: str, key: str) -> None:
    assert Location.parse(uri) == Location(bucket, key)


def test_names_are_put_behind_a_prefix() -> None:
    assert str(Location.parse("s3://b") / "x") == "s3://b/x"
    assert str(Location.parse("s3://b/p/") / "x/y") == "s3://b/p/x/y"


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"AlgorithmSpecification": {"AlgorithmName": "a"}}, "Marketplace"),
        ({"ResourceConfig": {"InstanceGroups": []}}, "InstanceGroups"),
        ({"CheckpointConfig": {"S3Uri": "s3://b/c", "LocalPath": "/tmp/c"}}, "/opt/ml/"),
        ({"CheckpointConfig": {"S3Uri": "s3://b/c", "LocalPath": "/opt/ml/../other"}}, "/opt/ml/"),
        ({"InputDataConfig": [channel("train", "s3://b", InputMode="Pipe")]}, "input mode Pipe"),
        (
            {"InputDataConfig": [channel("a", "s3://b", S3DataType="AugmentedManifestFile")]},
            "data source",
        ),
        (
            {"InputDataConfig": [{"ChannelName": "a", "DataSource": {"FileSystemDataSource": {}}}]},
            "data source",
        ),
    ],
)
def test_what_cannot_be_had_is_the_clients_error(request_, reason: str) -> None:
    with pytest.raises(JobError, match=f"^ClientError: .*{reason}"):
        _plan(**request_)
