from __future__ import annotations

import json
import os

import pytest

from mme_local.containers.hosts import Hosts
from mme_local.jobs.layout import Layout, write
from mme_local.jobs.outcome import failure_reason
from mme_local.jobs.request import plan
from mme_training.container.config import read_config
from mme_training.container.layout import Layout as ContainersLayout
from support.local_jobs import make_job

HOSTS = Hosts(("algo-1", "algo-2"), "eth0")


def _write(layout: Layout, ml: str = "/opt/ml", **request) -> None:
    write(layout, plan("j", make_job("j", instances=2, **request).request), HOSTS, 1, ml)


def test_sagemakers_files(tmp_path) -> None:
    layout = Layout(tmp_path)
    _write(layout)
    config = {path.name: json.loads(path.read_text()) for path in tmp_path.glob("input/config/*")}
    assert config.pop("hyperparameters.json")["num_round"] == "25"
    assert config.pop("inputdataconfig.json")["train"] == {
        "ContentType": "text/csv",
        "TrainingInputMode": "File",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
    }
    assert config.pop("resourceconfig.json") == {
        "current_host": "algo-2",
        "current_instance_type": "ml.m5.large",
        "current_group_name": "homogeneousCluster",
        "hosts": ["algo-1", "algo-2"],
        "instance_groups": [
            {
                "instance_group_name": "homogeneousCluster",
                "instance_type": "ml.m5.large",
                "hosts": ["algo-1", "algo-2"],
            }
        ],
        "network_interface_name": "eth0",
    }
    assert not config
    assert layout.model.is_dir()
    assert layout.output_data.is_dir()
    assert not (tmp_path / "checkpoints").exists()


def test_the_container_reads_them(tmp_path) -> None:
    layout = Layout(tmp_path)
    _write(layout, ml=str(tmp_path), CheckpointConfig={"S3Uri": "s3://b/c"})
    config = read_config(ContainersLayout(tmp_path))
    assert config.resources.current_host == "algo-2"
    assert config.channels["train"].content_type == "text/csv"
    assert config.checkpoints == tmp_path / "checkpoints"
    assert (tmp_path / "checkpoints").is_dir()


def test_paths_of_the_containers(tmp_path) -> None:
    assert Layout(tmp_path).at("/opt/ml/a/b") == tmp_path / "a/b"
    assert Layout(tmp_path).at("/opt/ml/") == tmp_path


@pytest.mark.parametrize(
    ("statuses", "failures", "reason"),
    [
        ((0, 0), (None, None), None),
        ((1, 0), ("bad rows", None), "AlgorithmError: bad rows, exit code: 1"),
        ((1, 2), (None, "bad rows"), "AlgorithmError: bad rows, exit code: 2"),
        ((0, 3), (None, None), "AlgorithmError: , exit code: 3"),
        ((137, 0), ("said", None), "AlgorithmError: said, exit code: 137"),
        ((137, 0), (None, None), "ClientError: Please use an instance type with more memory"),
    ],
)
def test_reasons_of_failures(tmp_path, statuses, failures, reason) -> None:
    layouts = [Layout(tmp_path / str(number)) for number in range(2)]
    for layout, failure in zip(layouts, failures, strict=True):
        layout.output_data.mkdir(parents=True)
        if failure:
            (layout.root / "output/failure").write_text(failure)
    found = failure_reason(statuses, layouts)
    assert found == reason or (found and reason and found.startswith(reason))


def test_of_a_link_or_a_pipe_nothing_is_read(tmp_path) -> None:
    """A container made them; here they lead elsewhere, or nowhere."""
    layout, secret = Layout(tmp_path / "job"), tmp_path / "secret"
    secret.write_text("mine")
    file = layout.root / "output/failure"
    file.parent.mkdir(parents=True)
    file.symlink_to(secret)
    assert layout.failure is None
    file.unlink()
    os.mkfifo(file)
    assert layout.failure is None


def test_of_a_long_failure_aws_shows_the_beginning(tmp_path) -> None:
    layout = Layout(tmp_path)
    layout.output_data.mkdir(parents=True)
    (tmp_path / "output/failure").write_text("x" * 5000)
    assert layout.failure == "x" * 1024
