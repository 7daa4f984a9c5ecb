"""Objects of any size: right to the byte, and never whole in memory."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import boto3
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from mme_local.aws.objects import PIECE
from support.local_up import child_of_ours

SIZE = 300 << 20
MOST = 160 << 20
"""Bytes beyond what the process takes at rest: parts of 8 MiB on ten connections, twice."""


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.fixture(scope="module")
def s3(running):
    client = running[1].client("s3")
    client.create_bucket(Bucket="objects")
    return client


@pytest.mark.parametrize("size", [0, 1, 1000, PIECE, PIECE + 1, 3 * PIECE + 17])
def test_an_object_comes_back_whole(s3, size):
    s3.put_object(Bucket="objects", Key="whole", Body=content(size), ContentType="a/b")
    answer = s3.get_object(Bucket="objects", Key="whole")
    assert answer["Body"].read() == content(size)
    assert answer["ContentLength"] == size
    assert answer["ContentType"] == "a/b"
    assert answer["ETag"].strip('"') == hashlib.md5(content(size)).hexdigest()


@pytest.mark.parametrize("size", [1000, 4 * PIECE + 5])
@pytest.mark.parametrize(
    "asked", ["0-9", "10-", "-10", "5-5", "0-3000000", "1048575-2097153", "0-999999999"]
)
def test_a_range_is_that_range(s3, size, asked):
    s3.put_object(Bucket="objects", Key="range", Body=content(size))
    start, _, stop = asked.partition("-")
    if start and int(start) >= size:
        with pytest.raises(ClientError, match="InvalidRange"):
            s3.get_object(Bucket="objects", Key="range", Range=f"bytes={asked}")
        return
    expected = content(size)[int(start) : int(stop) + 1 if stop else None] if start else (
        content(size)[-int(stop) :]
    )  # fmt: skip
    answer = s3.get_object(Bucket="objects", Key="range", Range=f"bytes={asked}")
    assert answer["Body"].read() == expected
    assert answer["ContentLength"] == len(expected)


def test_parts_become_one_object(s3):
    parts = [content(5 << 20), content((5 << 20) + 1), content(7)]
    upload = s3.create_multipart_upload(
        Bucket="objects", Key="parts", ContentType="a/b", Metadata={"by": "parts"}
    )
    named = {"Bucket": "objects", "Key": "parts", "UploadId": upload["UploadId"]}
    done = [
        {
            "PartNumber": number,
            "ETag": s3.upload_part(**named, PartNumber=number, Body=part)["ETag"],
        }
        for number, part in enumerate(parts, 1)
    ]
    wrong = [*done[:2], {"PartNumber": 3, "ETag": '"0"'}]
    with pytest.raises(ClientError, match="InvalidPart"):
        s3.complete_multipart_upload(**named, MultipartUpload={"Parts": wrong})
    s3.complete_multipart_upload(**named, MultipartUpload={"Parts": done})
    answer = s3.get_object(Bucket="objects", Key="parts")
    assert answer["Body"].read() == b"".join(parts)
    assert answer["ETag"].endswith('-3"')
    assert (answer["ContentType"], answer["Metadata"]) == ("a/b", {"by": "parts"})


def test_a_copy_is_equal_and_outlives_its_source(s3):
    whole = content(3 * PIECE)
    s3.put_object(Bucket="objects", Key="source", Body=whole)
    s3.copy_object(Bucket="objects", Key="copy", CopySource="objects/source")
    s3.put_object(Bucket="objects", Key="source", Body=b"other")
    s3.delete_object(Bucket="objects", Key="source")
    assert s3.get_object(Bucket="objects", Key="copy")["Body"].read() == whole


def test_an_object_that_is_replaced_while_it_is_read(s3):
    whole = content(30 * PIECE)
    s3.put_object(Bucket="objects", Key="slow", Body=whole)
    body = s3.get_object(Bucket="objects", Key="slow")["Body"]
    start = body.read(1000)
    s3.put_object(Bucket="objects", Key="slow", Body=b"new")
    assert start + body.read() == whole
    assert s3.get_object(Bucket="objects", Key="slow")["Body"].read() == b"new"


@pytest.mark.parametrize("size", [1000, 2 * PIECE])
def test_objects_that_are_replaced_while_many_read_them(running, s3, size):
    """Each reader gets one of them, whole, with its own entity tag, at the first attempt."""
    clients, key = running[1], f"often-{size}"
    once = boto3.session.Session("local", "local", region_name=clients.region).client(
        "s3",
        endpoint_url=clients.endpoint,
        config=Config(
            retries={"total_max_attempts": 1},
            max_pool_connections=8,
            s3={"addressing_style": "path"},
            proxies={},
        ),
    )
    written = iter(range(200))
    once.put_object(Bucket="objects", Key=key, Body=content(size))

    def replace() -> None:
        for number in written:
            once.put_object(Bucket="objects", Key=key, Body=content(size) + b"%d" % number)

    def read() -> None:
        while not over.is_set():
            answer = once.get_object(Bucket="objects", Key=key)
            tag = answer["ETag"].strip('"')
            assert hashlib.md5(answer["Body"].read()).hexdigest() == tag

    over = threading.Event()
    with ThreadPoolExecutor(8) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        try:
            for writer in [pool.submit(replace) for _ in range(2)]:
                writer.result()
        finally:
            over.set()
        for reader in readers:
            reader.result()


def test_what_is_replaced_or_deleted_leaves_no_file(s3):
    process, body = child_of_ours(), content(2 * PIECE)
    before = process.num_fds()
    for number in range(20):
        s3.put_object(Bucket="objects", Key="replaced", Body=body)
        s3.put_object(Bucket="objects", Key=f"deleted-{number}", Body=body)
    for number in range(20):
        s3.delete_object(Bucket="objects", Key=f"deleted-{number}")
    for _ in range(20):
        upload = s3.create_multipart_upload(Bucket="objects", Key="aborted")
        named = {"Bucket": "objects", "Key": "aborted", "UploadId": upload["UploadId"]}
        s3.upload_part(**named, PartNumber=1, Body=body)
        s3.abort_multipart_upload(**named)
    assert process.num_fds() < before + 10


def anonymous(process: psutil.Process) -> int:
    """Bytes of memory that are no file's."""
    lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Anonymous"))


@contextmanager
def peak(process: psutil.Process) -> Iterator[list[int]]:
    """Look all the time how much memory a process takes; the list has the most."""
    most, over = [0], threading.Event()

    def watch() -> None:
        while not over.is_set():
            most[0] = max(most[0], anonymous(process))
            time.sleep(0.01)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


def test_a_large_object_is_never_whole_in_memory(s3, tmp_path):
    process = child_of_ours()
    file, back = tmp_path / "large", tmp_path / "back"
    file.write_bytes(content(PIECE) * (SIZE // PIECE))
    before = anonymous(process)
    with peak(process) as most:
        s3.upload_file(str(file), "objects", "large")
        s3.copy_object(Bucket="objects", Key="large-copy", CopySource="objects/large")
        s3.download_file("objects", "large-copy", str(back))  # by ranges, ten at a time
        for piece in s3.get_object(Bucket="objects", Key="large")["Body"].iter_chunks(PIECE):
            assert piece
    assert most[0] - before < MOST
    assert back.read_bytes() == file.read_bytes()
