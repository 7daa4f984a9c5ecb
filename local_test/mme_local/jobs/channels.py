"""Input data: which objects a host gets of a channel, and where they are put.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_S3DataSource.html
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from mme_local.jobs.errors import JobError
from mme_local.jobs.request import Channel, Location
from mme_local.jobs.s3 import FAILURES, Store, Transfer, relative


def download(
    channel: Channel,
    directory: Path,
    host: int,
    hosts: int,
    store: Store,
    *,
    role: str,
    region: str,
) -> None:
    """Download what the host of number `host`, from 0, gets of a channel.

    Args:
        channel: what to download.
        directory: the channel's, which is made.
        host: this host's number.
        hosts: how many there are.
        store: S3.
        role: the job's, for AWS's text when nothing is found.
        region: the same.

    Raises:
        JobError: there are no objects, the manifest is not right, or a download fails.
        StoppedError: the job was stopped.
    """
    directory.mkdir(parents=True, exist_ok=True)
    try:
        wanted = _manifest(channel, store) if channel.manifest else _prefix(channel, store)
        if not wanted:
            raise JobError(_failed(nothing_found(channel.uri, role, region)))
        mine = wanted[host::hosts] if channel.sharded else wanted
        transfers = [
            Transfer(location, _inside(directory, name, channel)) for location, name in mine
        ]
        store.download(transfers)
        if channel.gzip:
            for transfer in transfers:
                _unzip(transfer.path)
    except FAILURES as error:
        if _code(error) == "NoSuchBucket":
            raise JobError(_failed(nothing_found(channel.uri, role, region))) from error
        raise JobError(_failed(f"{channel.uri}: {error}")) from error


def nothing_found(uri: str, role: str, region: str) -> str:
    """AWS's text for a prefix without objects; CreateTrainingJob refuses with it too."""
    return (
        f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that '
        f"the bucket exists in the selected region ({region}), that objects exist under that S3 "
        f'prefix, and that the role "{role}" has "s3:ListBucket" permissions on bucket '
        f'"{Location.parse(uri).bucket}".'
    )


def _prefix(channel: Channel, store: Store) -> list[tuple[Location, str]]:
    prefix = Location.parse(channel.uri)
    return [(Location(prefix.bucket, key), relative(key, prefix.key)) for key in store.keys(prefix)]


def _manifest(channel: Channel, store: Store) -> list[tuple[Location, str]]:
    """A manifest is ``[{"prefix": "s3://bucket/path/"}, "one.csv", "more/two.csv"]``."""
    try:
        content = json.loads(store.read(Location.parse(channel.uri)))
    except (ValueError, RecursionError) as error:
        raise JobError(_failed(f"the manifest {channel.uri} is no JSON: {error}")) from error
    prefix, names = _entries(content)
    if prefix is None:
        raise JobError(
            _failed(f'the manifest {channel.uri} must be a list: {{"prefix": ..}}, then names')
        )
    root = Location.parse(prefix)
    return sorted(
        ((Location(root.bucket, root.key + name), name) for name in names),
        key=lambda each: each[0].key,
    )


def _entries(content: Any) -> tuple[str | None, Sequence[str]]:
    match content:
        case [{"prefix": str(prefix)}, *names] if all(isinstance(name, str) for name in names):
            return prefix, names
    return None, ()


def _inside(directory: Path, name: str, channel: Channel) -> Path:
    path = directory / name.lstrip("/")
    if ".." in path.parts:
        raise JobError(_failed(f"the name {name!r} leads out of the channel {channel.name}"))
    return path


def _unzip(path: Path) -> None:
    """Decompress a file in its place; ``.gz`` is taken off its name."""
    partial = path.with_name(f"{path.name}.part")
    with gzip.open(path) as compressed, partial.open("wb") as plain:
        shutil.copyfileobj(compressed, plain)
    path.unlink()
    partial.rename(path.with_name(path.name.removesuffix(".gz")))


def _code(error: BaseException) -> Any:
    return error.response["Error"]["Code"] if isinstance(error, ClientError) else None


def _failed(reason: str) -> str:
    return f"ClientError: Data download failed:{reason}"
