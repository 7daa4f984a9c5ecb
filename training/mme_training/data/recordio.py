"""application/x-recordio-protobuf: a row per record of Amazon's `aialgs.data.Record`.

The features are the tensor "values" of a record, the labels the tensor "values" of its label.
Records of equal length that are float tensors, as the SageMaker SDK writes them, have the same
bytes but for the values, and are read all at once; others one by one.

https://docs.aws.amazon.com/sagemaker/latest/dg/cdf-training.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mme_handler.codecs.recordio_protobuf import make_record_type
from mme_training.data.content_type import ContentType, check_head
from mme_training.data.dataset import Dataset, Floats
from mme_training.data.files import HEAD_BYTES, DataFile
from mme_training.data.recordio_bulk import read_equal
from mme_training.errors import UserError

_MAGIC: Final = 0xCED7230A
_HEADER: Final = struct.Struct("<II")
_LENGTH_BITS: Final = 29  # those above say which part of a record it is
_KEY: Final = "values"
_MOST_COLUMNS: Final = 2**31 - 1


class _Rows(NamedTuple):
    """The records of a file, or of a part of it."""

    features: Floats | sparse.csr_matrix
    label: Floats
    """(rows, labels)."""


class _Row(NamedTuple):
    keys: NDArray[np.int64] | None
    """The columns of the values; None if there is one for each."""
    values: Floats
    width: int
    label: Floats


def read(
    files: Sequence[DataFile], content_type: ContentType, columns: int | None = None
) -> Dataset | None:
    """Read all records of the files; None if there is none.

    Args:
        files: all with the same number of features and labels.
        content_type: the channel's.
        columns: how many features sparse records have at least, whatever they say themselves.

    Returns:
        Features as an array if all records are dense, else as a sparse matrix.

    Raises:
        UserError: names the file and the record, counted from 1.
    """
    parts: list[_Rows] = []
    for file in files:
        with file.open() as stream:
            head = stream.peek(HEAD_BYTES)
            check_head(head, content_type, file.name)
            content = memoryview(stream.read())
        for part in _read_file(content, file.name):
            if parts:
                _check_same(part, parts[0], file.name, files[0].name)
            parts.append(part)
    if not parts:
        return None
    labels = np.concatenate([part.label for part in parts])
    label = labels[:, 0].copy() if labels.shape[1] == 1 else labels
    return Dataset(_together([part.features for part in parts], columns), label)


def _read_file(content: memoryview, name: str) -> Iterator[_Rows]:
    """All records of a file, in parts."""
    if not content:
        return
    first = next(_split(content, name))[1]
    example = _row(first, f"{name}, record 1")
    equal = read_equal(content, first, _HEADER.size)
    done = read = 0
    if equal is not None:
        features, label, read = equal
        done = len(features)
        yield _Rows(features, label)
    if read == len(content):
        return
    rows = [
        _row(data, f"{name}, record {number}")
        for number, data in _split(content[read:], name, done + 1)
    ]
    for number, row in enumerate(rows, done + 1):
        _check_row(row, example, f"{name}, record {number}")
    yield _Rows(_features(rows), np.stack([row.label for row in rows]))


def _split(content: memoryview, name: str, first: int = 1) -> Iterator[tuple[int, memoryview]]:
    """The number of each record, and its data; `first` is that of the first."""
    start, number = 0, first
    while start < len(content):
        where = f"{name}, record {number}"
        if len(content) - start < _HEADER.size:
            raise UserError(f"{where} is cut off: the file ends before it does")
        magic, length = _HEADER.unpack_from(content, start)
        if magic != _MAGIC:
            raise UserError(
                f"{where} begins with 0x{magic:08x}, not with the magic number of RecordIO, "
                f"0x{_MAGIC:08x}"
            )
        if length >> _LENGTH_BITS:
            raise UserError(f"{where} is split in parts; write each record as one")
        start += _HEADER.size
        if start + length > len(content):
            raise UserError(f"{where} is cut off: the file ends before it does")
        yield number, content[start : start + length]
        start += length + -length % 4
        number += 1


def _row(data: memoryview, where: str) -> _Row:
    from google.protobuf.message import DecodeError

    try:
        record = make_record_type().FromString(bytes(data))
        features = {key: record.features[key] for key in record.features}
        labels = {key: record.label[key] for key in record.label}
    except (DecodeError, UnicodeDecodeError):
        raise UserError(
            f"{where} is not a protobuf message of the type aialgs.data.Record"
        ) from None
    tensor = _tensor(features, where, "features")
    keys, shape = np.array(tensor.keys[:], np.uint64), tensor.shape[:]
    values = _floats(tensor, where, "features")
    label = _label(_tensor(labels, where, "label"), where)
    # A sparse record without a value is told by its shape.
    if not len(keys) and (len(values) or not shape):
        if not len(values):
            raise UserError(f"{where}: there are no features")
        return _Row(None, values, len(values), label)
    if len(keys) != len(values):
        raise UserError(f"{where}: {len(keys)} keys for {len(values)} values; write one for each")
    top = int(keys.max()) if len(keys) else -1
    width = max((int(n) for n in shape), default=top + 1)
    if top >= min(width, _MOST_COLUMNS) or width > _MOST_COLUMNS:
        raise UserError(f"{where}: key {top} is beyond the {width} features that the record has")
    order = np.argsort(keys)
    rising = keys[order].astype(np.int64)
    if (np.diff(rising) == 0).any():
        doubled = rising[1:][np.diff(rising) == 0][0]
        raise UserError(f"{where}: key {doubled} is there twice")
    kept = ~np.isnan(values[order])
    return _Row(rising[kept], values[order][kept], width, label)


def _label(tensor: Any, where: str) -> Floats:
    label = _floats(tensor, where, "label")
    if not len(label) or np.isnan(label).any():
        raise UserError(f"{where}: the label is missing")
    if tensor.keys:
        raise UserError(f"{where}: the label is a sparse tensor; write a dense one")
    return label


def _tensor(found: dict[str, Any], where: str, what: str) -> Any:
    if _KEY not in found:
        raise UserError(f'{where}: there is no "{_KEY}" in the {what}')
    kind = found[_KEY].WhichOneof("value")
    if kind in (None, "bytes"):
        raise UserError(
            f'{where}: "{_KEY}" of the {what} holds {kind or "nothing"}; write a tensor'
        )
    return getattr(found[_KEY], kind)


def _floats(tensor: Any, where: str, what: str) -> Floats:
    with np.errstate(over="ignore"):
        values = np.array(tensor.values[:], np.float64).astype(np.float32)
    if np.isinf(values).any():
        raise UserError(f"{where}: a value of the {what} is infinite or too large for a float32")
    return values


def _check_row(row: _Row, first: _Row, where: str) -> None:
    if row.keys is None and first.keys is None:
        _check_count("feature", row.width, first.width, where, "the records before have")
    _check_count("label", len(row.label), len(first.label), where, "the records before have")


def _check_same(part: _Rows, first: _Rows, name: str, other: str) -> None:
    one, two = part.features, first.features
    if isinstance(one, np.ndarray) and isinstance(two, np.ndarray):
        _check_count("feature", one.shape[1], two.shape[1], name, f"{other} has")
    _check_count("label", part.label.shape[1], first.label.shape[1], name, f"{other} has")


def _check_count(what: str, count: int, expected: int, where: str, others: str) -> None:
    if count != expected:
        counted = f"{count} {what}" if count == 1 else f"{count} {what}s"
        raise UserError(f"{where}: {counted} where {others} {expected}")


def _features(rows: list[_Row]) -> Floats | sparse.csr_matrix:
    if all(row.keys is None for row in rows):
        return np.stack([row.values for row in rows])
    width = max(row.width for row in rows)
    keys = [np.arange(row.width) if row.keys is None else row.keys for row in rows]
    return _sparse(
        np.concatenate([row.values for row in rows]),
        np.concatenate(keys),
        np.array([len(row.values) for row in rows]),
        width,
    )


def _sparse(
    values: Floats, indices: NDArray[np.int64], sizes: NDArray[np.int64], columns: int
) -> sparse.csr_matrix:
    starts = np.concatenate([[0], np.cumsum(sizes)])
    return sparse.csr_matrix((values, indices, starts), shape=(len(sizes), columns))


def _together(
    parts: list[Floats | sparse.csr_matrix], columns: int | None
) -> Floats | sparse.csr_matrix:
    if all(isinstance(part, np.ndarray) for part in parts):
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
    width = max(columns or 0, *(part.shape[1] for part in parts))
    matrices = []
    for part in parts:
        if isinstance(part, np.ndarray):
            there = ~np.isnan(part)
            matrix = _sparse(part[there], np.nonzero(there)[1], there.sum(axis=1), part.shape[1])
        else:
            matrix = part
        matrix.resize(len(part) if isinstance(part, np.ndarray) else part.shape[0], width)
        matrices.append(matrix)
    return sparse.vstack(matrices, format="csr", dtype=np.float32)
