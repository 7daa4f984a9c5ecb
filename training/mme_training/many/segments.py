"""How a table is arranged so that a worker reads one segment's rows and no others.

The rows go into one uncompressed Arrow file, those of a segment side by side in the order they had
in the table; workers map it and slice it. A table of more than `BUDGET` bytes is arranged a part
at a time, and the parts are then merged, so memory does not grow with the table.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mme_training.errors import UserError
from mme_training.many.table import Table
from mme_training.many.work import Segment

BUDGET: Final = 128 << 20
"""Bytes of rows that are arranged at once; somewhat over twice as many are used for it."""

_NAME_LENGTH: Final = 64
_DIGEST_LENGTH: Final = 8
_WRITTEN_AT_ONCE: Final = 16 << 20

Places = dict[str, tuple[int, int]]
"""By key: the index of its first row, and how many rows there are."""


@dataclass(frozen=True, slots=True)
class _Run:
    """A part of the table, arranged: its rows, without the key's column."""

    file: Path
    places: Places


def arrange(table: Table, directory: Path, budget: int = BUDGET) -> list[Segment]:
    """Write the rows of `table` below `directory`, by key; return the segments in order of keys.

    Raises:
        UserError: there are no rows, rows have no key, or the table cannot be read.
        OSError: `directory` cannot be written.
    """
    runs = []
    for number, batches in enumerate(_parts(table, budget)):
        runs.append(_arranged(table, batches, directory / f"run-{number}.arrow"))
    if not runs:
        raise UserError("the table has no rows")
    run = runs[0] if len(runs) == 1 else _merged(runs, directory / "rows.arrow")
    keys = sorted(run.places)
    names = safe_names(keys)
    return [Segment(key, names[key], run.file, *run.places[key]) for key in keys]


def rows_of(segment: Segment) -> pa.Table:
    """The segment's rows, mapped and not copied: label first, then the features."""
    state = segment.file.stat()
    identity = (state.st_ino, state.st_mtime_ns)
    return _mapped(segment.file, identity).slice(segment.start, segment.rows)


def digest(rows: pa.Table) -> str:
    """SHA-256 of what `rows` hold and of their columns, however they lie in memory."""
    result = hashlib.sha256(str(rows.schema).encode())
    for column in rows.columns:
        for content in _content(pa.concat_arrays(column.chunks)):
            result.update(content)
    return result.hexdigest()


def safe_names(keys: Iterable[str]) -> dict[str, str]:
    """A name for each key, of ``[A-Za-z0-9_.-]`` and at most 64 of them, beginning with one of the
    first 62; no two are the same.

    A key that is such a name already keeps it. Where others come to the same name, or to none, or
    were cut, they get eight digits of their own digest.
    """
    slugs = {key: _slug(key) for key in keys}
    shared = Counter(slugs.values())
    names = {}
    for key, slug in slugs.items():
        fits = 0 < len(slug) <= _NAME_LENGTH and (slug == key or shared[slug] == 1)
        names[key] = slug if fits else _told_apart(key, slug)
    return names


def _slug(key: str) -> str:
    plain = unicodedata.normalize("NFKD", key)
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", plain).lstrip("_.-")


def _told_apart(key: str, slug: str) -> str:
    number = hashlib.sha256(key.encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{slug[: _NAME_LENGTH - _DIGEST_LENGTH - 1] or 'segment'}-{number}"


def _parts(table: Table, budget: int) -> Iterator[list[pa.RecordBatch]]:
    part: list[pa.RecordBatch] = []
    size = without_key = 0
    for batch in table.batches():
        without_key += batch.column(0).null_count
        if size and size + batch.nbytes > budget and not without_key:
            yield part
            part, size = [], 0
        if not without_key:
            part.append(batch)
            size += batch.nbytes
    if without_key:
        raise UserError(
            f"{without_key} rows have no {table.by!r}: remove them or give them one (in CSV an "
            "empty cell, NA, NaN and null are missing)"
        )
    if part:
        yield part


def _arranged(table: Table, batches: list[pa.RecordBatch], file: Path) -> _Run:
    """Sort rows by key, stably, a column at a time to keep copies few."""
    rows = pa.Table.from_batches(batches)
    keys = pc.dictionary_encode(rows.column(0)).combine_chunks()
    codes: NDArray[np.int32] = keys.indices.to_numpy()
    order = pa.array(np.argsort(codes, kind="stable"))
    counts = np.bincount(codes, minlength=len(keys.dictionary)).tolist()
    columns = [pc.take(column.combine_chunks(), order) for column in rows.columns[1:]]
    names = [table.label, *table.features]
    with _writer(file, pa.schema([table.schema.field(name) for name in names])) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(columns, names))
    starts = np.cumsum([0, *counts[:-1]]).tolist()
    return _Run(
        file, dict(zip(keys.dictionary.to_pylist(), zip(starts, counts, strict=True), strict=True))
    )


def _merged(runs: list[_Run], file: Path) -> _Run:
    """Put the rows that each key has in the parts side by side."""
    tables = [_open(run.file) for run in runs]
    places: Places = {}
    start = 0
    with _writer(file, tables[0].schema) as writer:
        waiting: list[pa.Table] = []
        size = 0
        for key in sorted({key for run in runs for key in run.places}):
            pieces = [
                table.slice(*run.places[key])
                for table, run in zip(tables, runs, strict=True)
                if key in run.places
            ]
            rows = sum(piece.num_rows for piece in pieces)
            places[key] = (start, rows)
            start += rows
            waiting += pieces
            size += sum(piece.nbytes for piece in pieces)
            if size > _WRITTEN_AT_ONCE:
                writer.write_table(pa.concat_tables(waiting).combine_chunks())
                waiting, size = [], 0
        if waiting:
            writer.write_table(pa.concat_tables(waiting).combine_chunks())
    for run in runs:
        run.file.unlink()
    return _Run(file, places)


def _writer(file: Path, schema: pa.Schema) -> Any:
    return pa.ipc.new_file(str(file), schema)


def _open(file: Path) -> pa.Table:
    with pa.memory_map(str(file)) as source:
        return pa.ipc.open_file(source).read_all()


@lru_cache(maxsize=1)
def _mapped(file: Path, _identity: tuple[int, int]) -> pa.Table:
    return _open(file)


def _content(column: pa.Array) -> Iterator[Any]:
    """All that makes up the values of a column: what lies under nulls is not of it."""
    yield len(column).to_bytes(8, "little")
    if column.null_count:
        yield np.packbits(column.is_valid().to_numpy(zero_copy_only=False)).data
    if pa.types.is_large_string(column.type):
        texts = pc.fill_null(column, "")
        _, offsets, data = texts.buffers()
        ends = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
        yield (ends - ends[0]).data
        if data is not None:
            yield data[int(ends[0]) : int(ends[-1])]
        return
    blank = pa.scalar(False if pa.types.is_boolean(column.type) else 0).cast(column.type)
    filled = pc.fill_null(column, blank) if column.null_count else column
    yield np.ascontiguousarray(filled.to_numpy(zero_copy_only=False)).data
