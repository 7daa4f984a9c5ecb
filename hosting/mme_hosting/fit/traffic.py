"""Which model each request is for: as it was, from a file, or as it may be, by Zipf's law."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mme_hosting.errors import HostingError
from mme_hosting.fit.archives import Packed
from mme_training.archives.keys import SUFFIX

_MODEL: Final = ("model", "target_model", "TargetModel")
_TIME: Final = ("time", "timestamp")
_PLAYED: Final = 200_000  # requests of a made-up trace that are counted
_SHOWN: Final = 3
# Of Parquet that pyarrow has no reader for, it raises a NotImplementedError; of JSON that is nested
# without end, json a RecursionError.
_UNREADABLE: Final = (OSError, ValueError, csv.Error, KeyError, NotImplementedError, RecursionError)


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests in their order."""

    what: str
    """Where they are from, for a person."""
    trace: Sequence[int]
    """The number of the model of each request; numbers beyond the archives' are of models that
    have none."""
    warm: int
    """Requests at the beginning that only bring the caches to how they mostly are."""
    unknown: int = 0
    """Names that are of no archive; they are reckoned as an average one."""
    rate: float | None = None
    """Requests a second, in the busiest minute; None if there are no times."""


def zipf(models: int, exponent: float, seed: int = 0) -> Traffic:
    """Requests of which the k-th most popular model has a share like ``1 / k ** exponent``.

    Which model is how popular is chance, and has nothing to do with its size.
    """
    random = np.random.default_rng(seed)
    shares = zipf_shares(models, exponent)
    ranks = random.choice(models, size=2 * _PLAYED, p=shares)
    trace = random.permutation(models)[ranks].tolist()
    return Traffic(f"Zipf, exponent {exponent:g}, {models:,} models", trace, _PLAYED)


def zipf_shares(models: int, exponent: float) -> NDArray[np.float64]:
    """The share of each model, the most popular first; their sum is 1."""
    weights = np.arange(1, models + 1, dtype=np.float64) ** -exponent
    return np.asarray(weights / weights.sum())


def read(file: Path, archives: Sequence[Packed]) -> Traffic:
    """Requests from a file: CSV, JSON lines or Parquet with a column model, or names, one a line.

    A column time, in seconds or as ISO 8601, gives the order and the rate. The requests are played
    twice, and counted the second time: an endpoint that has run for long has its caches filled.

    Args:
        file: by its suffix .csv, .jsonl or .parquet; any other is names.
        archives: what the requests may name; ``.tar.gz`` may be left out in the file.

    Raises:
        HostingError: the file cannot be read, has no requests, or names none of the models.
    """
    try:
        pairs = list(_requests(file))
    except _UNREADABLE as error:
        raise HostingError(f"{file} cannot be read: {error}") from None
    if not pairs:
        raise HostingError(f"{file} has no requests")
    times = [time for time, _ in pairs if time is not None]
    if times and len(times) < len(pairs):
        raise HostingError(
            f"{file}: {len(pairs) - len(times)} of {len(pairs)} requests have no time"
        )
    if times:
        pairs.sort(key=lambda pair: pair[0] or 0.0)
    known = {
        name: number
        for number, packed in enumerate(archives)
        for name in (packed.name, *packed.also)
    }
    numbers: dict[str, int] = {}
    for name in dict.fromkeys(name for _, name in pairs):
        found = known.get(name, known.get(name + SUFFIX))
        numbers[name] = found if found is not None else -1
    missing = [name for name, number in numbers.items() if number < 0]
    if len(missing) == len(numbers):
        raise HostingError(
            f"{file} names none of the models: it has {', '.join(missing[:_SHOWN])}, and the "
            f"models are {', '.join(each.name for each in archives[:_SHOWN])}"
        )
    for place, name in enumerate(missing):
        numbers[name] = len(archives) + place
    trace = [numbers[name] for _, name in pairs]
    what = f"{file}: {len(trace):,} requests, {len(set(trace)):,} models"
    return Traffic(what, trace * 2, len(trace), len(missing), _busiest(times))


def _busiest(times: list[float]) -> float | None:
    """Requests a second in the busiest minute, or in all if that is less."""
    if len(times) < 2 or max(times) == min(times):
        return None
    first, length = min(times), max(times) - min(times)
    if length < 60:
        return len(times) / length
    return max(Counter(int((time - first) // 60) for time in times).values()) / 60


def _requests(file: Path) -> Iterator[tuple[float | None, str]]:
    match file.suffix.lower():
        case ".csv":
            with file.open(newline="", encoding="utf-8-sig") as stream:
                yield from _of_rows(csv.DictReader(stream))
        case ".jsonl":
            with file.open(encoding="utf-8") as stream:
                yield from _of_rows(json.loads(line) for line in stream if line.strip())
        case ".parquet":
            import pyarrow.parquet as pq

            yield from _of_rows(pq.read_table(file).to_pylist())
        case _:
            with file.open(encoding="utf-8") as stream:
                yield from ((None, line.strip()) for line in stream if line.strip())


def _of_rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[float | None, str]]:
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise ValueError(f"row {number} is no record")
        model = next((row[key] for key in _MODEL if row.get(key)), None)
        if model is None:
            raise ValueError(f"row {number} has no {_MODEL[0]}")
        time = next((row[key] for key in _TIME if row.get(key) not in (None, "")), None)
        yield None if time is None else _seconds(time), str(model).strip()


def _seconds(time: Any) -> float:
    if isinstance(time, datetime):
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    try:
        seconds = float(time)
    except ValueError:
        return _seconds(datetime.fromisoformat(str(time)))
    except (TypeError, OverflowError):
        seconds = math.nan
    if not math.isfinite(seconds):
        raise ValueError(f"{time} is no time")
    return seconds
