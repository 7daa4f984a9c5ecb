"""What the arguments of `mme models add` stand for, by moto's S3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mme_hosting.errors import HostingError
from mme_hosting.models.sources import fetched, find
from mme_training import s3
from mme_training.errors import UserError
from mme_training.s3 import Place
from support.aws import aws, reset

BUCKET = "houses-bucket"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with aws() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(server) -> Iterator[None]:
    client = s3.make_client()
    client.create_bucket(Bucket=BUCKET)
    for key in ("run/A.tar.gz", "run/B.tar.gz", "run/deep/C.tar.gz", "run/notes.txt"):
        client.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
    yield
    reset(server)


def no_client() -> None:
    raise AssertionError("S3 is not needed")


def files(directory: Path, *names: str) -> Path:
    directory.mkdir(exist_ok=True)
    for name in names:
        (directory / name).write_bytes(name.encode())
    return directory


def test_files_and_directories(tmp_path) -> None:
    directory = files(tmp_path / "d", "A.tar.gz", "B.tar.gz", "notes.txt", "._A.tar.gz")
    one = files(tmp_path / "e", "C.tar.gz") / "C.tar.gz"
    found = find([str(directory), str(one)], no_client)
    assert found == {"A": directory / "A.tar.gz", "B": directory / "B.tar.gz", "C": one}
    with fetched(found, no_client) as paths:
        assert paths == found


def test_what_a_training_run_has_left(tmp_path) -> None:
    rows = [
        {"name": "A", "path": "archives/A.tar.gz"},
        {"name": "B", "path": f"s3://{BUCKET}/run/B.tar.gz"},
        {"name": "failed", "path": None},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "manifest.parquet")
    assert find([str(tmp_path)], no_client) == {
        "A": tmp_path / "archives/A.tar.gz",
        "B": Place(BUCKET, "run/B.tar.gz"),
    }
    (tmp_path / "manifest.parquet").write_bytes(b"no parquet")
    with pytest.raises(HostingError, match=r"manifest\.parquet cannot be read"):
        find([str(tmp_path)], no_client)


@pytest.mark.usefixtures("bucket")
def test_archives_in_s3_are_fetched_while_they_are_needed() -> None:
    found = find([f"s3://{BUCKET}/run/", f"s3://{BUCKET}/run/deep/C.tar.gz"], s3.make_client)
    assert found == {
        "A": Place(BUCKET, "run/A.tar.gz"),
        "B": Place(BUCKET, "run/B.tar.gz"),
        "C": Place(BUCKET, "run/deep/C.tar.gz"),
    }
    with fetched(found, s3.make_client) as paths:
        assert {name: path.read_bytes() for name, path in paths.items()} == {
            "A": b"run/A.tar.gz",
            "B": b"run/B.tar.gz",
            "C": b"run/deep/C.tar.gz",
        }
    assert not any(path.exists() for path in paths.values())


@pytest.mark.usefixtures("bucket")
def test_what_is_not_there_is_told(tmp_path) -> None:
    for argument, said in (
        (str(tmp_path / "none.tar.gz"), "there is no "),
        (str(tmp_path), "has no archive"),
        (f"s3://{BUCKET}/empty/", "has no archive"),
        (f"s3://{BUCKET}/run", "a prefix has a slash at its end"),
    ):
        with pytest.raises(HostingError, match=said):
            find([argument], s3.make_client)
    with pytest.raises(UserError, match="there is no bucket not-there"):
        find(["s3://not-there/"], s3.make_client)
    missing = find([f"s3://{BUCKET}/run/missing.tar.gz"], s3.make_client)
    with (
        pytest.raises(UserError, match="there is no such object"),
        fetched(missing, s3.make_client),
    ):
        pass


def test_two_archives_of_one_name_are_refused(tmp_path) -> None:
    first, second = files(tmp_path / "a", "A.tar.gz"), files(tmp_path / "b", "A.tar.gz")
    with pytest.raises(HostingError, match=r"would both be the model A: give one at a time"):
        find([str(first), str(second)], no_client)
    assert len(find([str(first), str(first / "A.tar.gz")], no_client)) == 1
