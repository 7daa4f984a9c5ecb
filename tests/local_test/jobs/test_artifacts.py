from __future__ import annotations

import os
import tarfile
import threading

import pytest

from mme_local.jobs import artifacts
from mme_local.jobs.checkpoints import Checkpoints
from mme_local.jobs.errors import JobError
from mme_local.jobs.request import Location, plan
from mme_local.jobs.s3 import Store
from support.local_jobs import BUCKET, make_job


def _fill(directory, **files: str):
    for name, content in files.items():
        path = directory / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return directory


@pytest.fixture
def store(clients) -> Store:
    return Store(clients, threading.Event())


def test_directories_of_hosts_are_put_together(tmp_path) -> None:
    one = _fill(tmp_path / "one", model="1", code__inference_py="2")
    two = _fill(tmp_path / "two", model="3", more="4")
    (one / ".model.sagemaker-ignore").write_text("half")
    (one / "empty").mkdir()
    artifacts.pack([one, two], tmp_path / "a.tar.gz")
    with tarfile.open(tmp_path / "a.tar.gz") as tar:
        members = {member.name: member for member in tar}
        assert set(members) == {"model", "code", "code/inference.py", "empty", "more"}
        assert tar.extractfile("model").read() == b"1"
        assert {member.uid for member in members.values()} == {0}


def test_a_model_without_compression(tmp_path, store, jobs) -> None:
    output = {"S3OutputPath": f"s3://{BUCKET}/out", "CompressionType": "NONE"}
    asked = plan("j", make_job("j", OutputDataConfig=output).request)
    model = _fill(tmp_path / "model", a="1", b__c="2")
    uri = artifacts.upload_model(asked, [model], tmp_path, store)
    assert uri == f"s3://{BUCKET}/out/j/output/model/"
    assert jobs.keys("out/") == ["out/j/output/model/a", "out/j/output/model/b/c"]


def test_a_bucket_that_is_not_there(tmp_path, store) -> None:
    asked = plan("j", make_job("j", OutputDataConfig={"S3OutputPath": "s3://nowhere/x"}).request)
    with pytest.raises(JobError, match=r"^ClientError: Artifact upload failed:.*NoSuchBucket"):
        artifacts.upload_model(asked, [_fill(tmp_path / "model", a="1")], tmp_path, store)


def test_checkpoints_go_and_come(tmp_path, store, jobs) -> None:
    first = _fill(tmp_path / "first", point_1="1", sub__point_2="2")
    (first / ".point.sagemaker-ignore").write_text("half")
    prefix = Location.parse(f"s3://{BUCKET}/points")
    Checkpoints(prefix, [first], store).save()
    assert jobs.keys("points") == ["points/point.1", "points/sub/point.2"]

    second = tmp_path / "second"
    later = Checkpoints(prefix, [second], store)
    later.restore()
    assert (second / "sub/point.2").read_text() == "2"
    jobs.put("points/point.1", "of another")
    (second / "point.3").write_text("3")
    (second / "sub/point.2").write_text("changed")
    os.utime(second / "sub/point.2", ns=(1, 1))
    later.save()
    assert jobs.get(f"s3://{BUCKET}/points/point.1") == b"of another"  # Not changed here.
    assert jobs.get(f"s3://{BUCKET}/points/point.3") == b"3"
    assert jobs.get(f"s3://{BUCKET}/points/sub/point.2") == b"changed"
