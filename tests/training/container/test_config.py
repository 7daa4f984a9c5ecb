from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mme_training.container.config import check_channels, read_config
from mme_training.container.layout import Layout
from mme_training.errors import UserError
from support.training_job import TrainingJob


def _error(job: TrainingJob) -> str:
    with pytest.raises(UserError) as error:
        check_channels(read_config(Layout(job.root)))
    return str(error.value)


def test_what_sagemaker_writes_is_read(tmp_path) -> None:
    job = TrainingJob(tmp_path, {"eta": "0.5"}, train="text/csv", validation=None)
    job.write(
        "resourceconfig.json",
        {
            "current_host": "algo-2",
            "current_instance_type": "ml.m5.large",
            "hosts": ["algo-1", "algo-2"],
            "instance_groups": [],
            "network_interface_name": "eth0",
        },
    )
    config = read_config(Layout(tmp_path))
    check_channels(config)

    assert config.hyperparameters["eta"] == "0.5"
    assert config.channels["train"].content_type == "text/csv"
    assert config.channels["validation"].content_type is None
    assert config.resources.current_host == "algo-2"
    assert config.resources.hosts == ("algo-1", "algo-2")
    assert config.checkpoints is None


@pytest.mark.parametrize("mode", ["File", "FastFile"])
def test_files_may_be_there_or_stream_in(tmp_path, mode: str) -> None:
    job = TrainingJob(tmp_path)
    job.write("inputdataconfig.json", {"train": {"TrainingInputMode": mode}})
    check_channels(read_config(Layout(tmp_path)))


def test_checkpoints_go_where_the_job_says_or_to_the_directory_that_exists(tmp_path) -> None:
    job = TrainingJob(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    assert read_config(Layout(tmp_path)).checkpoints == tmp_path / "checkpoints"
    job.write("checkpointconfig.json", {"LocalPath": "/elsewhere", "S3Uri": "s3://bucket/x"})
    assert read_config(Layout(tmp_path)).checkpoints == Path("/elsewhere")


def test_a_directory_that_is_no_job_is_refused(tmp_path) -> None:
    with pytest.raises(UserError, match=r"inputdataconfig\.json is missing: `train` runs where"):
        read_config(Layout(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("hyperparameters.json", "{", "hyperparameters.json cannot be read"),
        ("hyperparameters.json", "[]", "hyperparameters.json holds no JSON object"),
        ("resourceconfig.json", '{"hosts": 3}', "resourceconfig.json: hosts: "),
        (
            "inputdataconfig.json",
            '{"train": {"TrainingInputMode": "Carrier"}}',
            "inputdataconfig.json, channel train: TrainingInputMode: ",
        ),
    ],
)
def test_a_file_that_sagemaker_would_not_write_is_named(
    tmp_path, name: str, content: str, expected: str
) -> None:
    job = TrainingJob(tmp_path)
    (job.config / name).write_text(content)
    assert expected in _error(job)


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        (
            {"training": "text/csv", "validation": "text/csv"},
            "the channel `train` is missing; the job has: training, validation",
        ),
        (
            {"train": "text/csv", "test": "text/csv"},
            "no use for the channel test: there are train, validation and code",
        ),
    ],
)
def test_channels_of_no_use_are_refused(tmp_path, channels: Any, expected: str) -> None:
    assert _error(TrainingJob(tmp_path, **channels)) == expected


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("TrainingInputMode", "Pipe", "has input mode Pipe: use File, or FastFile"),
        ("RecordWrapperType", "RecordIO", "has RecordWrapperType RecordIO, which is for Pipe"),
    ],
)
def test_pipes_are_refused(tmp_path, key: str, value: str, expected: str) -> None:
    job = TrainingJob(tmp_path)
    job.write("inputdataconfig.json", {"train": {"ContentType": "text/csv", key: value}})
    assert expected in _error(job)
