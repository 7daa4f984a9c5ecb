"""Records of RecordIO that differ in nothing but their values, read all at once."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mme_handler.codecs.recordio_protobuf import make_record_type
from mme_training.data.dataset import Floats

_KEY: Final = "values"
_BATCH_BYTES: Final = 4 << 20
# Numbers of which each byte differs; those of an int32 take one byte while they are below 128.
_PATTERNS: Final[dict[str, tuple[np.dtype[Any], list[float]]]] = {
    "float32_tensor": (
        np.dtype("<f4"),
        np.frombuffer(b"\1" * 4 + b"\2" * 4, "<f4").tolist(),
    ),
    "float64_tensor": (
        np.dtype("<f8"),
        np.frombuffer(b"\1" * 8 + b"\2" * 8, "<f8").tolist(),
    ),
    "int32_tensor": (np.dtype(np.int8), [1, 2]),
}


def read_equal(
    content: memoryview, first: memoryview, header: int
) -> tuple[Floats, Floats, int] | None:
    """The records at the beginning of `content` that are like its first one.

    Args:
        content: records with their framing.
        first: the data of the first record, a valid one.
        header: bytes of framing before the data of a record.

    Returns:
        Features (rows, features), labels (rows, labels) and the number of bytes read; None if the
        first record is sparse, or the values could not be told from other bytes.
    """
    record = make_record_type().FromString(bytes(first))
    if record.SerializeToString() != bytes(first):
        return None  # another order of the fields, or fields that are not known
    features = _place(record, record.features[_KEY], header)
    label = _place(record, record.label[_KEY], header)
    if features is None or label is None or features[1].itemsize == 1:
        return None
    stride = header + len(first) + -len(first) % 4
    fixed = np.ones(stride, np.bool_)
    fixed[features[0]] = fixed[label[0]] = False
    count = len(content) // stride
    records = np.frombuffer(content, np.uint8, count * stride).reshape(count, stride)
    matrix = np.empty((count, len(range(stride)[features[0]]) // features[1].itemsize), np.float32)
    labels = np.empty((count, len(range(stride)[label[0]]) // label[1].itemsize), np.float32)
    done = 0
    step = max(1, _BATCH_BYTES // stride)
    while done < count:
        batch = records[done : done + step]
        rows = slice(done, done + len(batch))
        with np.errstate(all="ignore"):
            matrix[rows] = np.ascontiguousarray(batch[:, features[0]]).view(features[1])
            labels[rows] = np.ascontiguousarray(batch[:, label[0]]).view(label[1])
        like = (batch[:, fixed] == records[0, fixed]).all()
        if not like or np.isinf(matrix[rows]).any() or not np.isfinite(labels[rows]).all():
            break
        if label[1].itemsize == 1 and (labels[rows] < 0).any():  # it takes more than one byte
            break
        done = rows.stop
    return (matrix[:done], labels[:done], done * stride) if done else None


def _place(record: Any, value: Any, header: int) -> tuple[slice, np.dtype[Any]] | None:
    """Where the bytes of a tensor's values are in a record, and their type."""
    kind = value.WhichOneof("value")
    dtype, patterns = _PATTERNS[kind]
    tensor = getattr(value, kind)
    count = len(tensor.values)
    if tensor.keys or not count:
        return None
    before = tensor.values[:]
    written: list[NDArray[np.uint8]] = []
    for number in patterns:
        tensor.values[:] = [number if dtype.kind == "f" else int(number)] * count
        written.append(np.frombuffer(record.SerializeToString(), np.uint8))
    size = len(record.SerializeToString())
    tensor.values[:] = before
    if len(record.SerializeToString()) != size:
        return None
    places = np.flatnonzero(written[0] != written[1])
    start, stop = header + int(places[0]), header + int(places[-1]) + 1
    if stop - start != count * dtype.itemsize:
        return None
    return slice(start, stop), dtype
