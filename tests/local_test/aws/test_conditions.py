"""Writes on a condition: of several at once, S3 lets one through."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

BUCKET = "conditions"
WRITERS = 8
WRITES = 10
SIZE = 2 << 20
"""Above what is held in memory."""


@pytest.fixture(scope="module")
def s3(running):
    client = running[1].client("s3")
    client.create_bucket(Bucket=BUCKET)
    return client


def counted(number: int) -> bytes:
    """A number, and what takes a server a while."""
    return json.dumps(number).encode() + b" " * SIZE


def put(client, key: str, body: bytes, **condition: str) -> str:
    """Write; the code of the error, or nothing."""
    try:
        client.put_object(Bucket=BUCKET, Key=key, Body=body, **condition)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return ""


def add_one(client, key: str) -> None:
    """Count up by read and conditional write, until nobody came between."""
    code = "PreconditionFailed"
    while code == "PreconditionFailed":
        found = client.get_object(Bucket=BUCKET, Key=key)
        body = counted(json.load(found["Body"]) + 1)
        code = put(client, key, body, IfMatch=found["ETag"])
    assert not code


def test_no_write_is_lost(s3):
    s3.put_object(Bucket=BUCKET, Key="count", Body=counted(0))
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(lambda _: add_one(s3, "count"), range(WRITERS * WRITES)))
    assert json.load(s3.get_object(Bucket=BUCKET, Key="count")["Body"]) == WRITERS * WRITES


def test_one_of_several_creates_an_object(s3):
    for attempt in range(8):
        key = f"new-{attempt}"
        bodies = [counted(number) for number in range(WRITERS)]
        with ThreadPoolExecutor(WRITERS) as pool:
            codes = list(
                pool.map(lambda body, key=key: put(s3, key, body, IfNoneMatch="*"), bodies)
            )
        assert sorted(codes) == ["", *["PreconditionFailed"] * (WRITERS - 1)]
        assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == bodies[codes.index("")]


def test_conditions_on_what_is_not_there(s3):
    assert put(s3, "absent", b"", IfMatch='"0123"') == "NoSuchKey"
    assert put(s3, "absent", b"", IfNoneMatch="*") == ""
