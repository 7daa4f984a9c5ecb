"""Buckets and objects, saved to files and put back, by S3's own API.

An object is kept with its content, its headers and its metadata. Not kept: versions, tags, access
lists, the settings of buckets, uploads in parts that are not complete, and the time of an object.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import ClientError
from pydantic import BaseModel

from mme_local.aws.seeds import create_bucket

_HEADERS: Final = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
)
_PIECE: Final = 1 << 20


class SavedObject(BaseModel):
    """An object, and the file that has its content."""

    bucket: str
    key: str
    mark: str
    """What changes with the object."""
    file: str
    headers: dict[str, str]
    metadata: dict[str, str]


class SavedBucket(BaseModel):
    """A bucket."""

    name: str
    region: str


class Buckets:
    """S3 and a directory of files that hold its objects.

    Args:
        s3: client.
        directory: of the files.
    """

    def __init__(self, s3: Any, directory: Path) -> None:
        self._s3 = s3
        self._directory = directory

    def save(self, known: list[SavedObject]) -> tuple[list[SavedBucket], list[SavedObject]]:
        """Write what has changed since `known` was saved; return all that there is."""
        before = {(each.bucket, each.key): each for each in known}
        buckets, objects = [], []
        for name in self._names():
            place = self._s3.get_bucket_location(Bucket=name)["LocationConstraint"]
            buckets.append(SavedBucket(name=name, region=place or "us-east-1"))
            for key, mark in self._list(name):
                same = before.get((name, key))
                saved = same if same and same.mark == mark else self._fetch(name, key, mark)
                objects += [saved] if saved else []
        return buckets, objects

    def restore(self, buckets: list[SavedBucket], objects: list[SavedObject]) -> list[SavedObject]:
        """Put back what was saved; return the objects as they are now known."""
        for bucket in buckets:
            create_bucket(self._s3, bucket.name, bucket.region)
        for each in objects:
            extra = {**each.headers, "Metadata": each.metadata}
            file = self._directory / each.file
            self._s3.upload_file(str(file), each.bucket, each.key, ExtraArgs=extra)
        marks = {(name, key): mark for name in self._names() for key, mark in self._list(name)}
        return [each.model_copy(update={"mark": marks[each.bucket, each.key]}) for each in objects]

    def remove_unused(self, used: list[SavedObject]) -> None:
        """Delete the files of objects that are gone."""
        kept = {each.file for each in used}
        for file in self._directory.iterdir():
            if file.name not in kept:
                file.unlink()

    def _names(self) -> list[str]:
        return [bucket["Name"] for bucket in self._s3.list_buckets()["Buckets"]]

    def _list(self, bucket: str) -> Iterator[tuple[str, str]]:
        """Yield each key of a bucket, and what changes with its object."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        for page in pages:
            for item in page.get("Contents", ()):
                yield item["Key"], f"{item['ETag']} {item['LastModified'].isoformat()}"

    def _fetch(self, bucket: str, key: str, mark: str) -> SavedObject | None:
        """Write an object to a new file; None if it is gone meanwhile."""
        try:
            answer = self._s3.get_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "NoSuchBucket"):
                return None
            raise
        file = uuid.uuid4().hex
        with (self._directory / file).open("wb") as target, closing(answer["Body"]) as body:
            for piece in body.iter_chunks(_PIECE):
                target.write(piece)
        return SavedObject(
            bucket=bucket,
            key=key,
            mark=mark,
            file=file,
            headers={name: answer[name] for name in _HEADERS if answer.get(name)},
            metadata=answer["Metadata"],
        )
