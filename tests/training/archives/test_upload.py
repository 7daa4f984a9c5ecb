from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest

from mme_training import s3
from mme_training.archives.keys import Version, parse
from mme_training.archives.upload import list_keys, upload
from mme_training.errors import UserError
from support.aws import aws, reset

BUCKET = "models-of-the-test"
PREFIX = f"s3://{BUCKET}/xgb/"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with aws() as url:
        yield url


@pytest.fixture
def client(endpoint: str):
    reset(endpoint)
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    return client


def write(directory: Path, contents: Mapping[str, bytes]) -> dict[str, Path]:
    paths = {name: directory / f"{name}.tar.gz" for name in contents}
    for name, path in paths.items():
        path.write_bytes(contents[name])
    return paths


def stored(client) -> dict[str, bytes]:
    keys = [item["Key"] for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
    return {key: client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}


def statuses(results) -> list[str]:
    return [result.status for result in results]


def test_many_are_uploaded_and_again_none(client, tmp_path) -> None:
    contents = {f"city-{number}": bytes([number]) * 1000 for number in range(40)}
    archives = write(tmp_path, contents)
    seen = []

    first = upload(archives, PREFIX, on_done=seen.append)
    again = upload(archives, PREFIX)

    assert stored(client) == {f"xgb/{name}.tar.gz": data for name, data in contents.items()}
    assert statuses(first) == ["uploaded"] * 40
    assert statuses(again) == ["present"] * 40
    assert [result.name for result in first] == list(archives)
    assert sorted(result.name for result in seen) == sorted(archives)
    assert str(first[3].place) == f"s3://{BUCKET}/xgb/city-3.tar.gz"
    head = client.head_object(
        Bucket=BUCKET, Key="xgb/city-3.tar.gz", ChecksumMode="ENABLED"
    )  # fmt: skip
    digest = hashlib.sha256(contents["city-3"]).hexdigest()
    assert head["Metadata"] == {"sha256": digest}


def test_what_is_there_is_never_replaced_and_the_others_go_on(client, tmp_path) -> None:
    client.put_object(Bucket=BUCKET, Key="xgb/a.tar.gz", Body=b"before")
    results = upload(write(tmp_path, {"a": b"new", "b": b"other"}), PREFIX)

    assert statuses(results) == ["failed", "uploaded"]
    assert results[0].error is not None
    assert f"s3://{BUCKET}/xgb/a.tar.gz exists with other content" in results[0].error
    assert "--version-style" in results[0].error
    assert stored(client) == {"xgb/a.tar.gz": b"before", "xgb/b.tar.gz": b"other"}


def test_the_same_bytes_that_somebody_else_uploaded_are_present(client, tmp_path) -> None:
    client.put_object(Bucket=BUCKET, Key="xgb/a.tar.gz", Body=b"same")
    assert statuses(upload(write(tmp_path, {"a": b"same"}), PREFIX)) == ["present"]


def test_of_several_at_once_one_wins(client, tmp_path) -> None:
    files = [write(tmp_path, {f"own-{n}": b"%d" % n})[f"own-{n}"] for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda path: upload({"a": path}, PREFIX)[0], files))
    assert sorted(statuses(results)) == ["failed"] * 7 + ["uploaded"]
    winner = next(result for result in results if result.status == "uploaded")
    assert stored(client) == {"xgb/a.tar.gz": winner.path.read_bytes()}


@pytest.mark.parametrize("style", ["digest", "v"])
def test_versions(client, tmp_path, style: str) -> None:
    def put(content: bytes):
        return upload(write(tmp_path, {"a": content}), PREFIX, style=style)[0]

    runs = [put(content) for content in (b"one", b"one", b"two", b"two", b"one")]

    assert statuses(runs) == ["uploaded", "present", "uploaded", "present", "uploaded"]
    versions = [parse(key.removeprefix("xgb/")) for key in stored(client)]
    assert sorted(version.number for version in versions if version) == [1, 2, 3]
    assert {version.style for version in versions if version} == {style}
    assert sorted(stored(client).values()) == [b"one", b"one", b"two"]
    digest = hashlib.sha256(b"two").hexdigest()[:12]
    expected = f"xgb/a/2-{digest}.tar.gz" if style == "digest" else "xgb/a_v2.tar.gz"
    assert runs[2].place is not None
    assert runs[2].place.key == expected


def test_large_files_go_in_parts(client, tmp_path) -> None:
    content = bytes(range(256)) * (9 << 12)  # 9 MiB
    archives = write(tmp_path, {"a": content})

    first = upload(archives, PREFIX, large=6 << 20)
    again = upload(archives, PREFIX, large=6 << 20)
    other = upload(write(tmp_path, {"a": content[1:]}), PREFIX, large=6 << 20)

    assert statuses([*first, *again, *other]) == ["uploaded", "present", "failed"]
    assert stored(client) == {"xgb/a.tar.gz": content}
    assert "-" in client.head_object(Bucket=BUCKET, Key="xgb/a.tar.gz")["ETag"]


def test_keys_are_relative_and_of_this_prefix_alone(client) -> None:
    for key in ("xgb/a_v1.tar.gz", "xgb/b/1.txt", "xgb-other/b.tar.gz"):
        client.put_object(Bucket=BUCKET, Key=key, Body=b"")
    assert list(list_keys(client, s3.parse(f"s3://{BUCKET}/xgb"))) == ["a_v1.tar.gz", "b/1.txt"]
    assert len(list(list_keys(client, s3.parse(f"s3://{BUCKET}")))) == 3


def test_a_bucket_that_is_not_there(client, tmp_path) -> None:
    (result,) = upload(write(tmp_path, {"a": b"x"}), "s3://no-such-bucket-here/p/")
    assert result.error is not None
    assert "s3://no-such-bucket-here/p/a.tar.gz: there is no bucket" in result.error
    assert "aws s3 mb" in result.error
    with pytest.raises(UserError, match="there is no bucket no-such-bucket-here"):
        upload({"a": tmp_path / "a.tar.gz"}, "s3://no-such-bucket-here/p/", style="v")


def test_a_file_that_is_not_there(client, tmp_path) -> None:
    (result,) = upload({"a": tmp_path / "missing.tar.gz"}, PREFIX)
    assert (result.status, stored(client)) == ("failed", {})
    assert "missing.tar.gz cannot be read" in (result.error or "")


def test_without_credentials(client, tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    (result,) = upload(write(tmp_path, {"a": b"x"}), PREFIX)
    assert "no usable AWS credentials: set AWS_PROFILE" in (result.error or "")


def error(code: str, headers: Mapping[str, str] = {}) -> Exception:
    answer = {
        "Error": {"Code": code, "Message": "said S3"},
        "ResponseMetadata": {"HTTPHeaders": dict(headers)},
    }
    return s3.ClientError(answer, "PutObject")


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (error("AccessDenied"), "PutObject is not allowed .* needs s3:ListBucket on b and"),
        (error("PermanentRedirect", {"x-amz-bucket-region": "eu-west-1"}), "AWS_REGION=eu-west-1"),
        (error("AuthorizationHeaderMalformed"), "another region .*: set AWS_REGION"),
        (error("ExpiredToken"), "session has expired .*: log in again"),
        (error("InvalidAccessKeyId"), "does not accept the credentials"),
        (error("NoSuchKey"), "there is no such object"),
        (error("SlowDown"), "S3 refuses PutObject: SlowDown: said S3"),
    ],
)
def test_what_s3_refuses_is_said_with_the_next_step(problem: Exception, text: str) -> None:
    said = s3.explain(problem, s3.Place("b", "k"))
    assert said.startswith("s3://b/k: ")
    assert re.search(text, said)


def test_an_object_is_fetched(client, tmp_path) -> None:
    client.put_object(Bucket=BUCKET, Key="xgb/a.tar.gz", Body=b"content")
    s3.download(client, s3.parse(f"{PREFIX}a.tar.gz"), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"content"
    with pytest.raises(UserError, match=r"xgb/b\.tar\.gz: there is no such object"):
        s3.download(client, s3.parse(f"{PREFIX}b.tar.gz"), tmp_path / "b")


@pytest.mark.parametrize("uri", ["bucket/key", "s3:/b/k", "s3://", "s3:///k", ""])
def test_what_is_no_place(uri: str) -> None:
    with pytest.raises(UserError, match="no place in S3"):
        s3.parse(uri)


def test_names_are_checked_before_anything_is_sent(client, tmp_path) -> None:
    with pytest.raises(UserError, match="cannot be the name of a model"):
        upload({"a/b": tmp_path / "x"}, PREFIX)


def test_folders_are_in_keys_with_a_digest_alone(client, tmp_path) -> None:
    path = write(tmp_path, {"a": b"x"})["a"]
    (result,) = upload({"company_a/a": path}, PREFIX, style="digest")
    digest = hashlib.sha256(b"x").hexdigest()[:12]
    assert str(result.place) == f"{PREFIX}company_a/a/1-{digest}.tar.gz"
    with pytest.raises(UserError, match="cannot be the name of a model"):
        upload({"company_a/a": path}, PREFIX, style="v")


@pytest.mark.parametrize("large", [6 << 20, 64 << 20])
def test_a_key_of_encryption(client, tmp_path, large: int) -> None:
    path = write(tmp_path, {"a": bytes(7 << 20)})["a"]
    encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "alias/models"}
    (result,) = upload({"a": path}, PREFIX, large=large, encryption=encryption)
    head = client.head_object(Bucket=BUCKET, Key="xgb/a.tar.gz")
    assert result.status == "uploaded"
    assert head["ServerSideEncryption"] == "aws:kms"
    assert head["SSEKMSKeyId"] == "alias/models"


def test_the_version_to_follow_can_be_given(client, tmp_path) -> None:
    digest = hashlib.sha256(b"old").hexdigest()[:12]
    for key in (f"a/1-{digest}.tar.gz", f"a/2-{'0' * 12}.tar.gz"):
        client.put_object(Bucket=BUCKET, Key=f"xgb/{key}", Body=b"old")
    archives = write(tmp_path, {"a": b"old"})
    latest = {"a": Version("a", 1, digest)}
    (result,) = upload(archives, PREFIX, style="digest", latest=latest)
    assert (result.status, str(result.place)) == ("present", f"{PREFIX}a/1-{digest}.tar.gz")
