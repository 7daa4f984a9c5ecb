"""The synthetic houses as files: what a training job, or a training of many models, starts from.

Files go to a directory or to S3, and are made city by city, so that neither a million rows nor a
thousand cities need much memory. The same arguments always give the same values in the same order.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mme_training.errors import UserError
from mme_training.houses import CITIES, COLUMNS, SEED, make_houses, write_csv
from mme_training.split import split

CITY: Final = "city"
TABLE_NAME: Final = "houses.parquet"
MIN_ROWS: Final = 3
"""With fewer a part of the split is empty."""

_FRACTIONS: Final = ("NUM_BATHROOMS", "LOT_ACRES")
_SCHEMA: Final = pa.schema(
    [
        (CITY, pa.dictionary(pa.int32(), pa.string())),
        *((name, pa.float64() if name in _FRACTIONS else pa.int64()) for name in COLUMNS),
    ]
)
_ROW_GROUP: Final = 65_536
_UPLOADS: Final = 16


def city_names(count: int) -> list[str]:
    """The first `count` cities: those of `CITIES`, then ``City_0011``, ``City_0012``, .."""
    return [*CITIES[:count], *(f"City_{n:04d}" for n in range(len(CITIES) + 1, count + 1))]


def write_channels(out: str, cities: Sequence[str], rows: int, seed: int = SEED) -> str:
    """Write each city's houses as the channels of a SageMaker training job; return `out`.

    `out`, a directory or ``s3://bucket/prefix``, gets ``<city>/train/train.csv``,
    ``<city>/validation/validation.csv`` and ``<city>/test/test.csv``: 60, 30 and 10 percent of
    the city's `rows`, without a header, the price first. Files of these names are replaced.

    Raises:
        UserError: `rows` is below `MIN_ROWS`, or the files cannot be written.
        ValueError: `seed` is negative.
    """
    if rows < MIN_ROWS:
        raise UserError(f"{rows} rows are too few to split: give at least {MIN_ROWS}")
    with _explained(out):
        if out.startswith("s3://"):
            _upload_channels(_Bucket(out), cities, rows, seed)
        else:
            for city in cities:
                _write_city(Path(out, city), city, rows, seed)
    return out


def write_table(out: str, cities: Sequence[str], rows: int, seed: int = SEED) -> str:
    """Write the houses of all cities as one Parquet table; return its path or URI.

    `out`, a directory or ``s3://bucket/prefix``, gets `TABLE_NAME`, which appears once complete.
    Its columns are `CITY` (a dictionary of text) and `COLUMNS`, int64 or float64; the `rows`
    houses of a city are neighbours, and not split.

    Raises:
        UserError: the file cannot be written.
        ValueError: `rows` is below one, or `seed` is negative.
    """
    with _explained(out):
        if out.startswith("s3://"):
            bucket = _Bucket(out)
            with tempfile.TemporaryDirectory() as scratch:
                path = Path(scratch, TABLE_NAME)
                _write_parquet(path, cities, rows, seed)
                return bucket.put(path, TABLE_NAME)
        path = Path(out, TABLE_NAME)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{TABLE_NAME}.part")
        try:
            _write_parquet(partial, cities, rows, seed)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return str(path)


def _write_city(directory: Path, city: str, rows: int, seed: int) -> list[Path]:
    """Write the three files, and return their paths relative to `directory`."""
    files = []
    for name, part in split(make_houses(city, rows, seed), seed)._asdict().items():
        file = Path(name, f"{name}.csv")
        (directory / name).mkdir(parents=True, exist_ok=True)
        write_csv(part, directory / file)
        files.append(file)
    return files


def _write_parquet(path: Path, cities: Sequence[str], rows: int, seed: int) -> None:
    together = max(_ROW_GROUP // max(rows, 1), 1)
    with pq.ParquetWriter(path, _SCHEMA, compression="zstd") as writer:
        for start in range(0, len(cities), together):
            some = cities[start : start + together]
            houses = pd.concat([make_houses(city, rows, seed) for city in some])
            keys = pa.DictionaryArray.from_arrays(
                pa.array(np.repeat(np.arange(len(some), dtype=np.int32), rows)),
                pa.array(some, pa.string()),
            )
            columns = [keys, *(houses[name].to_numpy() for name in COLUMNS)]
            writer.write_table(pa.table(columns, _SCHEMA), row_group_size=_ROW_GROUP)


def _upload_channels(bucket: _Bucket, cities: Sequence[str], rows: int, seed: int) -> None:
    def one(city: str) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            for file in _write_city(Path(scratch), city, rows, seed):
                bucket.put(Path(scratch) / file, f"{city}/{file.as_posix()}")

    threads = ThreadPoolExecutor(_UPLOADS)
    try:
        for future in [threads.submit(one, city) for city in cities]:
            future.result()
    finally:
        threads.shutdown(cancel_futures=True)


class _Bucket:
    """Where in S3 the files go; used by several threads."""

    def __init__(self, uri: str) -> None:
        import boto3
        from botocore.config import Config

        parts = urlsplit(uri)
        if not parts.netloc:
            raise UserError(f"{uri!r} names no bucket: give s3://bucket/prefix")
        self._name = parts.netloc
        self._prefix = parts.path.strip("/")
        self._client: Any = boto3.client("s3", config=Config(max_pool_connections=_UPLOADS))

    def put(self, file: Path, name: str) -> str:
        """Upload `file` as `name` below the prefix, and return its URI."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        key = f"{self._prefix}/{name}" if self._prefix else name
        uri = f"s3://{self._name}/{key}"
        try:
            self._client.upload_file(str(file), self._name, key)
        except (Boto3Error, BotoCoreError, ClientError) as error:
            raise UserError(f"{uri} cannot be written: {error}") from error
        return uri


@contextmanager
def _explained(out: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"the houses cannot be written to {out}: {error}") from error
