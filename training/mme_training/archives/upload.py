"""Upload archives to S3, many at once, without ever replacing one that is there."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig

from mme_training import s3
from mme_training.archives.assemble import digest
from mme_training.archives.keys import (
    SUFFIX,
    Style,
    Version,
    check_name,
    latest_versions,
    next_version,
)
from mme_training.errors import UserError
from mme_training.s3 import Place

Status = Literal["uploaded", "present", "failed"]

LARGE: Final = 64 << 20
"""Bytes from which on a file is sent in parts."""

_SHA256: Final = "sha256"  # metadata, with which also an upload in parts can be compared
_TAKEN: Final = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409"}
_NO_CONDITIONS: Final = {"NotImplemented", "501", "InvalidArgument"}
_ATTEMPTS: Final = 5  # at a version that somebody else takes at the same moment


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What became of one archive; `error` says why it failed, and the others go on."""

    name: str
    path: Path
    status: Status
    place: Place | None = None
    """Where it is now: newly ``uploaded``, or ``present`` before with the same bytes."""
    size: int = 0
    error: str | None = None


def upload(
    archives: Mapping[str, Path],
    prefix: str,
    *,
    style: Style | None = None,
    workers: int = 16,
    on_done: Callable[[Uploaded], None] = lambda _: None,
    client: Any = None,
    large: int = LARGE,
    latest: Mapping[str, Version] | None = None,
    encryption: Mapping[str, str] | None = None,
) -> list[Uploaded]:
    """Upload each archive below `prefix`; run again, it uploads what is not yet there.

    An object that is there is never replaced: the same bytes are left as they are, and others are
    an error, or with a `style` the next version. S3 verifies the SHA-256 of what it receives.

    Args:
        archives: the files, by the name of the model; ``<name>.tar.gz`` is the key without `style`.
        prefix: such as ``s3://bucket/models/``.
        style: of keys with a version.
        workers: uploads at once.
        on_done: called in the caller's thread with each result as it comes.
        client: boto3's, for S3; by default one is made.
        large: bytes from which on a file is sent in parts.
        latest: with a `style`, the version of each model that the next one follows, or that has the
            archive's bytes; by default the highest that is there.
        encryption: PutObject's arguments for a key of encryption.

    Returns:
        A result for each archive, in their order.

    Raises:
        UserError: the prefix cannot be listed, or a name cannot be part of a key.
    """
    for name in archives:
        check_name(name, folders=style == "digest")
    root = s3.parse(prefix)
    client = client or s3.make_client(workers)
    if latest is None:
        latest = latest_versions(list_keys(client, root), style) if style else {}
    task = _Task(client, root, style, large, encryption or {})
    with ThreadPoolExecutor(workers) as pool:
        futures = {
            pool.submit(task.run, name, path, latest.get(name)): name
            for name, path in archives.items()
        }
        try:
            results = {}
            for future in as_completed(futures):
                results[futures[future]] = future.result()
                on_done(future.result())
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [results[name] for name in archives]


def list_keys(client: Any, prefix: Place) -> Iterator[str]:
    """The keys below a prefix, relative to it.

    Raises:
        UserError: it cannot be listed.
    """
    start = prefix.below("")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=start.bucket, Prefix=start.key)
    try:
        for page in pages:
            for item in page.get("Contents", []):
                yield item["Key"].removeprefix(start.key)
    except s3.S3_ERRORS as error:
        raise UserError(s3.explain(error, start)) from None


@dataclass(frozen=True, slots=True)
class _Task:
    """Uploads one archive after the other, in any thread."""

    client: Any
    root: Place
    style: Style | None
    large: int
    encryption: Mapping[str, str]

    def run(self, name: str, path: Path, latest: Version | None) -> Uploaded:
        place = self.root
        try:
            size, sha256 = path.stat().st_size, digest(path)
            for _ in range(_ATTEMPTS):
                if self.style == "v" and latest and self._same(last := self._at(latest), sha256):
                    return Uploaded(name, path, "present", last, size)
                version = next_version(name, sha256, latest, self.style) if self.style else None
                place = self._at(version) if version else self.root.below(name + SUFFIX)
                # A version that is new in the listing is, as a rule, not there.
                look_first = version is None or version == latest or size >= self.large
                same = self._same(place, sha256) if look_first else None
                if same is None and self._put(path, place, size, sha256):
                    return Uploaded(name, path, "uploaded", place, size)
                if same or self._same(place, sha256):
                    return Uploaded(name, path, "present", place, size)
                if version is None:
                    break
                latest = version
            reason = self._taken(place)
        except s3.S3_ERRORS as error:
            reason = s3.explain(error, place)
        except Boto3Error as error:
            reason = s3.explain(error.__context__ or error, place)
        except OSError as error:
            reason = f"{path} cannot be read: {error.strerror}"
        return Uploaded(name, path, "failed", error=reason)

    def _at(self, version: Version) -> Place:
        return self.root.below(version.key)

    def _taken(self, place: Place) -> str:
        if self.style:
            return f"{place}: others upload versions at the same time: run it again"
        return (
            f"{place} exists with other content, and models are not replaced, for endpoints keep "
            "what they have loaded: upload a new version with --version-style digest"
        )

    def _put(self, path: Path, place: Place, size: int, sha256: str) -> bool:
        """Upload to `place`; False if somebody else was sooner."""
        if size >= self.large:  # boto3 passes no condition on to an upload in parts
            config = TransferConfig(multipart_threshold=self.large, max_concurrency=4)
            arguments = {
                "ChecksumAlgorithm": "SHA256",
                "Metadata": {_SHA256: sha256},
                **self.encryption,
            }
            self.client.upload_file(
                str(path), place.bucket, place.key, ExtraArgs=arguments, Config=config
            )
            return True
        request = {
            "Bucket": place.bucket,
            "Key": place.key,
            "ChecksumSHA256": base64.b64encode(bytes.fromhex(sha256)).decode(),
            "Metadata": {_SHA256: sha256},
            **self.encryption,
        }
        with path.open("rb") as file:
            try:
                self.client.put_object(**request, Body=file, IfNoneMatch="*")
            except s3.S3_ERRORS as error:
                code = s3.code_of(error)
                if code in _TAKEN:
                    return False
                if code not in _NO_CONDITIONS:
                    raise
                if self._same(place, sha256) is not None:
                    return False
                file.seek(0)
                self.client.put_object(**request, Body=file)
        return True

    def _same(self, place: Place, sha256: str) -> bool | None:
        """Whether the object there has these bytes; None if there is none."""
        try:
            found = self.client.head_object(
                Bucket=place.bucket, Key=place.key, ChecksumMode="ENABLED"
            )
        except s3.S3_ERRORS as error:
            if s3.is_absent(error):
                return None
            raise
        if known := found.get("Metadata", {}).get(_SHA256):
            return bool(known == sha256)
        checksum = found.get("ChecksumSHA256", "")
        if checksum and "-" not in checksum:  # that of an upload in parts is one of its parts'
            return base64.b64decode(checksum).hex() == sha256
        body = self.client.get_object(Bucket=place.bucket, Key=place.key)["Body"]
        hashed = hashlib.sha256()
        for chunk in body.iter_chunks(1 << 20):
            hashed.update(chunk)
        return hashed.hexdigest() == sha256
