"""Where archives come from: files, directories of them, a training run's manifest, and S3."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from mme_hosting.errors import HostingError
from mme_training import s3
from mme_training.archives.assemble import name_of
from mme_training.archives.keys import SUFFIX
from mme_training.archives.upload import list_keys
from mme_training.many.manifest import MANIFEST
from mme_training.s3 import Place

Sources = dict[str, Path | Place]
"""An archive each, by the name of its model."""

_AT_ONCE: Final = 16


def find(arguments: Sequence[str], client: Callable[[], Any]) -> Sources:
    """The archives that the arguments stand for.

    An argument is an archive, a directory of archives, the directory that ``mme train many`` has
    left its manifest in, an archive in S3, or a prefix there with a slash at its end.

    Args:
        arguments: paths and ``s3://`` addresses.
        client: makes boto3's client of S3, where one is needed.

    Raises:
        HostingError: there is no such thing, nothing in it, or two archives of one name.
        UserError: S3 refuses to list a prefix.
    """
    found: Sources = {}
    for argument in arguments:
        several = _in_s3(argument, client) if s3.is_uri(argument) else _on_disk(Path(argument))
        if not several:
            raise HostingError(f"{argument} has no archive ({SUFFIX}) in it")
        for name, place in several.items():
            if name in found and found[name] != place:
                raise HostingError(
                    f"{found[name]} and {place} would both be the model {name}: give one at a "
                    "time, with --name"
                )
            found[name] = place
    return found


@contextlib.contextmanager
def fetched(sources: Sources, client: Callable[[], Any]) -> Iterator[Mapping[str, Path]]:
    """Files of all archives, those from S3 downloaded for as long as the block runs.

    Raises:
        UserError: one cannot be downloaded.
    """
    there = {name: place for name, place in sources.items() if isinstance(place, Place)}
    with tempfile.TemporaryDirectory(prefix="mme-models-") as scratch:
        files = {}
        for number, (name, place) in enumerate(there.items()):
            files[name] = Path(scratch, str(number), place.key.rpartition("/")[2])
            files[name].parent.mkdir()
        if there:
            s3_client = client()
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                wanted = [
                    pool.submit(s3.download, s3_client, place, files[name])
                    for name, place in there.items()
                ]
                for each in wanted:
                    each.result()
        yield {
            name: place if isinstance(place, Path) else files[name]
            for name, place in sources.items()
        }


def _on_disk(path: Path) -> Sources:
    if not path.is_dir():
        if not path.exists():
            raise HostingError(f"there is no {path}")
        return {name_of(path): path}
    if (path / MANIFEST).is_file():
        return _of_manifest(path)
    # No hidden ones, as macOS puts them beside files on other disks.
    return {name_of(file): file for file in sorted(path.glob(f"[!.]*{SUFFIX}"))}


def _of_manifest(directory: Path) -> Sources:
    """The archives of a training run, those of models that failed left out."""
    try:
        table = pq.read_table(directory / MANIFEST, columns=["name", "path"])
    except (pa.ArrowException, OSError) as error:
        raise HostingError(f"{directory / MANIFEST} cannot be read: {error}") from None
    return {
        row["name"]: s3.parse(row["path"]) if s3.is_uri(row["path"]) else directory / row["path"]
        for row in table.to_pylist()
        if row["path"]
    }


def _in_s3(uri: str, client: Callable[[], Any]) -> Sources:
    place = s3.parse(uri)
    if place.key.endswith(SUFFIX):
        return {_name(place.key): place}
    if place.key and not place.key.endswith("/"):
        raise HostingError(f"{uri} is no archive ({SUFFIX}): a prefix has a slash at its end")
    keys = [key for key in list_keys(client(), place) if key.endswith(SUFFIX) and "/" not in key]
    return {_name(key): place.below(key) for key in keys}


def _name(key: str) -> str:
    return key.rpartition("/")[2].removesuffix(SUFFIX)
