from __future__ import annotations

import json

import boto3
import pytest
from botocore.stub import Stubber

from mme_hosting.doctor import models
from mme_hosting.errors import HostingError
from support.doctor import findings, one, setup

BUCKET = "houses-bucket"
PREFIX = f"s3://{BUCKET}/houses/models/"


def put(**objects: bytes | str) -> None:
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    for key, body in objects.items():
        client.put_object(Bucket=BUCKET, Key=f"houses/models/{key}", Body=body)


def of():
    return setup(models=PREFIX)


def test_a_bucket_that_is_there():
    put()
    assert one(models.bucket, of()) == ("ok", f"{BUCKET} exists, in us-east-1 | ")


def test_a_bucket_that_is_not_there():
    assert one(models.bucket, of()) == (
        "failed",
        f"there is no bucket {BUCKET} | aws s3 mb s3://{BUCKET} --region us-east-1",
    )


def test_a_bucket_in_another_region():
    place = {"LocationConstraint": "eu-west-1"}
    client = boto3.client("s3", region_name="eu-west-1")
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
    status, text = one(models.bucket, of())
    assert status == "failed"
    assert f"{BUCKET} is in eu-west-1, and the endpoint will be in us-east-1" in text


@pytest.mark.parametrize(
    ("code", "text"),
    [("403", "you may not list it"), ("301", "is in another region"), ("400", None)],
)
def test_a_bucket_that_answers_otherwise(code, text):
    found = of()
    with Stubber(found.aws.client("s3")) as stub:
        stub.add_client_error("head_bucket", code, "", int(code))
        if text:
            status, said = one(models.bucket, found)
            assert status == "failed"
            assert text in said
        else:
            with pytest.raises(HostingError, match="HeadBucket"):
                list(models.bucket(found))


def test_archives_in_their_places():
    put(**{"Chicago_IL/1-0123456789ab.tar.gz": b"x", "Houston_TX.tar.gz": b"x", "aliases.json": ""})
    assert one(models.prefix, of()) == ("ok", f"{PREFIX} has 2 archives | ")


def test_nothing_there_yet():
    put()
    assert one(models.prefix, of()) == (
        "warning",
        f"{PREFIX} has no archives yet | mme models add MODEL.tar.gz",
    )
    assert one(models.prefix, setup(models=PREFIX, local=True))[1].endswith("tar.gz --local")


@pytest.mark.parametrize(
    ("key", "body", "text"),
    [
        ("empty.tar.gz", b"", "1 objects of no bytes, which will not load: empty.tar.gz"),
        ("Zürich.tar.gz", b"x", "1 objects whose keys no request can name"),
        (" a.tar.gz", b"x", "1 objects whose keys no request can name"),
        ("model.bin", b"x", "1 objects that are no .tar.gz, which no request can name: model.bin"),
    ],
)
def test_what_no_request_can_use(key, body, text):
    put(**{key: body, "good.tar.gz": b"x"})
    found = findings(models.prefix, of())
    assert found[0][0] == "warning"
    assert text in found[0][1]
    assert found[0][1].endswith(f"| aws s3 ls --recursive {PREFIX}")
    assert found[-1][0] == "ok"


def test_a_key_that_is_too_long():
    place = of().context.models
    assert not models._can_be_named({"Key": f"{place.key}{'a' * 1018}.tar.gz"}, place)
    assert models._can_be_named({"Key": f"{place.key}{'a' * 1017}.tar.gz"}, place)


def test_only_the_first_are_looked_at(monkeypatch):
    monkeypatch.setattr(models, "_PAGES", 1)
    found = of()
    contents = [{"Key": "houses/models/a.tar.gz", "Size": 1}]
    with Stubber(found.aws.client("s3")) as stub:
        page = {"IsTruncated": True, "NextContinuationToken": "more", "Contents": contents}
        stub.add_response("list_objects_v2", page)
        assert one(models.prefix, found) == ("ok", f"{PREFIX} has more than 1 archives | ")


def test_names_of_models():
    put()
    assert "there is no" in one(models.aliases, of())[1]
    table = {
        "version": 1,
        "models": {"Chicago_IL": {"current": "a.tar.gz", "changed": "2026-01-01T00:00:00Z"}},
    }
    put(**{"aliases.json": json.dumps(table)})
    assert one(models.aliases, of()) == ("ok", f"{PREFIX}aliases.json has 1 names | ")


def test_names_that_cannot_be_read():
    put(**{"aliases.json": "{"})
    with pytest.raises(HostingError, match=r"aliases.json is no file of aliases"):
        list(models.aliases(of()))
