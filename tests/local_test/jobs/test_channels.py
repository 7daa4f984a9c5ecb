from __future__ import annotations

import gzip
import json
import threading
from pathlib import Path

import pytest

from mme_local.jobs.channels import download
from mme_local.jobs.errors import JobError, StoppedError
from mme_local.jobs.request import plan
from mme_local.jobs.s3 import Store, relative
from support.local_jobs import BUCKET, channel, make_job

ROLE = "arn:aws:iam::123456789012:role/R"


@pytest.fixture
def get(clients, tmp_path):
    """Download a channel; return the names and contents of the files."""

    def fetch(uri: str, host: int = 0, hosts: int = 1, stop: bool = False, **rest):
        described = channel("train", f"s3://{BUCKET}/{uri}", **rest)
        (wanted,) = plan("j", make_job("j", InputDataConfig=[described]).request).channels
        event = threading.Event()
        if stop:
            event.set()
        directory = tmp_path / f"train-{host}"
        store = Store(clients, event)
        download(wanted, directory, host, hosts, store, role=ROLE, region="us-east-1")
        return {
            path.relative_to(directory).as_posix(): path.read_text()
            for path in sorted(directory.rglob("*"))
            if path.is_file()
        }

    return fetch


def _put(clients, *keys: str) -> None:
    for key in keys:
        clients.client("s3").put_object(Bucket=BUCKET, Key=key, Body=key.encode())


@pytest.mark.parametrize(
    ("key", "prefix", "name"),
    [
        ("p/train/a.csv", "p/train/", "a.csv"),
        ("p/train/a.csv", "p/train", "a.csv"),
        ("p/train/b/a.csv", "p/train", "b/a.csv"),
        ("p/train.csv", "p/train.csv", "train.csv"),
        ("p/train/a.csv", "p/tr", "train/a.csv"),
        ("p/train-1.csv", "p/train", "train-1.csv"),
        ("p/train/a.csv", "p", "train/a.csv"),
        ("p/train/a.csv", "", "p/train/a.csv"),
        ("a.csv", "a", "a.csv"),
    ],
)
def test_where_an_object_goes(key: str, prefix: str, name: str) -> None:
    assert relative(key, prefix) == name


def test_a_prefix(get, clients) -> None:
    _put(clients, "d/train/a.csv", "d/train/more/b.csv", "d/train/", "d/validation/c.csv")
    assert get("d/train/") == {"a.csv": "d/train/a.csv", "more/b.csv": "d/train/more/b.csv"}


def test_a_manifest(get, clients) -> None:
    _put(clients, "d/train/a.csv", "d/train/more/b.csv", "d/train/c.csv")
    entries = [{"prefix": f"s3://{BUCKET}/d/train/"}, "more/b.csv", "a.csv"]
    clients.client("s3").put_object(Bucket=BUCKET, Key="m", Body=json.dumps(entries))
    assert set(get("m", S3DataType="ManifestFile")) == {"a.csv", "more/b.csv"}


def test_hosts_share_the_objects(get, clients) -> None:
    _put(clients, *(f"d/{number}" for number in range(5)))
    sharded = {"S3DataDistributionType": "ShardedByS3Key"}
    assert set(get("d/", 0, 2, **sharded)) == {"0", "2", "4"}
    assert set(get("d/", 1, 2, **sharded)) == {"1", "3"}
    assert set(get("d/", 1, 2)) == {"0", "1", "2", "3", "4"}


def test_compressed_files(get, clients) -> None:
    clients.client("s3").put_object(Bucket=BUCKET, Key="d/a.csv.gz", Body=gzip.compress(b"1,2"))
    assert get("d/", CompressionType="Gzip") == {"a.csv": "1,2"}


def test_what_is_not_compressed_fails(get, clients) -> None:
    _put(clients, "d/a.csv.gz")
    with pytest.raises(JobError, match="Not a gzipped file"):
        get("d/", CompressionType="Gzip")


@pytest.mark.parametrize("uri", [f"s3://{BUCKET}/nothing/", "s3://no-such-bucket/a"])
def test_nothing_there_is_said_in_awss_words(get, uri: str) -> None:
    with pytest.raises(JobError) as caught:
        get("", S3Uri=uri)
    bucket = uri.split("/")[2]
    assert str(caught.value) == (
        f'ClientError: Data download failed:No S3 objects found under S3 URL "{uri}" given in '
        "input data source. Please ensure that the bucket exists in the selected region "
        "(us-east-1), that objects exist under that S3 prefix, and that the role "
        f'"{ROLE}" has "s3:ListBucket" permissions on bucket "{bucket}".'
    )


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (b"no json", "is no JSON"),
        (b'["a.csv"]', "must be a list"),
        (b'[{"prefix": "s3://houses/d/"}, "../../x"]', "leads out of the channel train"),
        (b'[{"prefix": "s3://houses/d/"}, "missing.csv"]', "Not Found"),
        (b'[{"prefix": "s3://houses/d/"}]', "No S3 objects found"),
    ],
)
def test_bad_manifests(get, clients, tmp_path: Path, manifest: bytes, reason: str) -> None:
    clients.client("s3").put_object(Bucket=BUCKET, Key="m", Body=manifest)
    with pytest.raises(JobError, match=f"^ClientError: Data download failed:.*{reason}"):
        get("m", S3DataType="ManifestFile")


def test_a_job_that_is_stopped_downloads_no_more(get, clients) -> None:
    _put(clients, "d/a")
    with pytest.raises(StoppedError):
        get("d/", stop=True)
