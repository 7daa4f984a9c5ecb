"""application/x-recordio-protobuf: a row per record of Amazon's `aialgs.data.Record`.

A record is the uint32 0xced7230a, the uint32 length of its data, the data, and zeros up to a
multiple of four bytes; both numbers are little-endian. The data is a protobuf message that maps
"values" to a tensor of numbers: of all features, or of those whose positions are in its `keys`,
counted from 0, where the others are missing.

https://docs.aws.amazon.com/sagemaker/latest/dg/cdf-training.html
"""

from __future__ import annotations

import struct
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import Any, Final

import numpy as np

from mme_handler.codecs.arrays import recode
from mme_handler.codecs.chunks import batches
from mme_handler.codecs.matrix import FLOAT32_OVERFLOW, Matrix, quote, too_large, wrong_count
from mme_handler.codecs.output import Output, Outputs
from mme_handler.codecs.registry import Body, Codec, register
from mme_handler.codecs.schema import Schema
from mme_handler.errors import BadRequestError

_MAGIC: Final = 0xCED7230A
_HEADER: Final = struct.Struct("<II")
_LENGTH_BITS: Final = 29  # those above say which part of a record it is
_KEY: Final = "values"
_PACKAGE: Final = "aialgs.data"

# Records are parsed whole, in one call that keeps the interpreter's lock. A value takes at most 10
# bytes, and so does its key; the rest is for labels and metadata.
_BYTES_PER_FEATURE: Final = 20
_OTHER_BYTES: Final = 1 << 20

# Each takes about a third of a millisecond.
_COUNTED_PER_STEP: Final = 1024
_PARSED_PER_STEP: Final = 16
_MOST_LISTED: Final = 10
_DENSE: Final = (("float32_tensor", "<f4"), ("float64_tensor", "<f8"))


def decode(body: Body, schema: Schema) -> Matrix:
    """Read a non-empty body; labels, uid, metadata and configuration are ignored.

    Returns:
        A C-contiguous float32 array (rows, features), float32 values bit for bit.

    Raises:
        BadRequestError: names the record, counted from 1, and the column if it is about one.
        RequestTooLargeError: the rows would take too much memory.
    """
    view = memoryview(body)
    matrix = _decode_dense(view, schema)
    if matrix is None:
        matrix = _decode_each(view, schema)
    recode(matrix, schema)
    return matrix


def encode(outputs: Outputs) -> bytes:
    """A record per row, whose `label` maps the name of each output to its values.

    They are a float32 tensor, flat where an output has several axes.
    """
    record_type = make_record_type()
    count = len(outputs[0].values)
    framed = []
    for batch in batches(count, sum(output.values[:1].size for output in outputs)):
        columns = [_flat(output, batch) for output in outputs]
        for row in zip(*columns, strict=True):
            record = record_type()
            for output, values in zip(outputs, row, strict=True):
                record.label[output.name].float32_tensor.values.extend(values)
            framed.append(frame(record.SerializeToString()))
    return b"".join(framed)


def _flat(output: Output, batch: slice) -> list[list[float]]:
    values = output.values[batch]
    flat: list[list[float]] = values.reshape(len(values), -1).astype(np.float32).tolist()
    return flat


def frame(data: bytes) -> bytes:
    """A record as it stands in a file or a body: its header, `data`, and what fills it up."""
    return _HEADER.pack(_MAGIC, len(data)) + data + bytes(-len(data) % 4)


def _decode_dense(view: memoryview, schema: Schema) -> Matrix | None:
    """The matrix if each record is nothing but a dense tensor of floats; else None.

    Such records have the same bytes but for the values, which are the last of them.
    """
    for kind, dtype in _DENSE:
        head, stride = _dense_shape(kind, schema.features)
        if len(view) % stride == 0 and bytes(view[: len(head)]) == head:
            return _dense_matrix(view, head, stride, np.dtype(dtype), schema)
    return None


def _dense_matrix(
    view: memoryview, head: bytes, stride: int, dtype: np.dtype[Any], schema: Schema
) -> Matrix | None:
    """The matrix if each `stride` bytes are `head` and finite values; else None."""
    records = np.frombuffer(view, np.uint8).reshape(-1, stride)
    schema.check_size(len(records))
    values = slice(len(head), len(head) + schema.features * dtype.itemsize)
    matrix = np.empty((len(records), schema.features), np.float32)
    for batch in batches(len(records), schema.features):
        part = records[batch]
        if (part[:, : len(head)] != np.frombuffer(head, np.uint8)).any():
            return None
        with np.errstate(all="ignore"):
            matrix[batch] = np.ascontiguousarray(part[:, values]).view(dtype)
        if np.isinf(matrix[batch]).any():
            return None
    return matrix


@lru_cache(maxsize=1024)
def _dense_shape(kind: str, features: int) -> tuple[bytes, int]:
    """What a record of a dense tensor begins with, and its length in all."""
    record = make_record_type()()
    values = getattr(record.features[_KEY], kind).values
    values.extend([1.0] * features)
    data = record.SerializeToString()
    size = features * (4 if kind == "float32_tensor" else 8)
    framed = frame(data)
    return framed[: _HEADER.size + len(data) - size], len(framed)


def _decode_each(view: memoryview, schema: Schema) -> Matrix:
    count = sum(1 for _ in _split(view, _COUNTED_PER_STEP))
    schema.check_size(count)
    matrix = np.full((count, schema.features), np.nan, np.float32)
    records = _split(view, _PARSED_PER_STEP)
    for number, (row, data) in enumerate(zip(matrix, records, strict=True), 1):
        _fill(row, data, f"record {number}", schema)
    return matrix


def _split(view: memoryview, per_step: int) -> Iterator[memoryview]:
    """The data of each record, with a chance for other threads after `per_step` of them."""
    number = start = 0
    while start < len(view):
        number += 1
        if number % per_step == 0:
            time.sleep(0)
        if len(view) - start < _HEADER.size:
            raise _cut_off(number)
        magic, length = _HEADER.unpack_from(view, start)
        if magic != _MAGIC or length >> _LENGTH_BITS:
            raise _bad_header(number, magic)
        stop = start + _HEADER.size + length
        if stop > len(view):
            raise _cut_off(number)
        yield view[start + _HEADER.size : stop]
        start = stop + -length % 4


def _bad_header(number: int, magic: int) -> BadRequestError:
    if magic == _MAGIC:
        return BadRequestError(f"record {number} is split in parts; send each record as one")
    return BadRequestError(
        f"record {number} begins with 0x{magic:08x}, not with the magic number of RecordIO, "
        f"0x{_MAGIC:08x}"
    )


def _cut_off(number: int) -> BadRequestError:
    return BadRequestError(f"record {number} is cut off: the body ends before it does")


def _fill(row: Matrix, data: memoryview, where: str, schema: Schema) -> None:
    """Set the values of `row`, (features,) of NaN, to those of the record."""
    tensor = _tensor(data, where, len(row))
    keys = tensor.keys[:]
    sparse = bool(keys or (tensor.shape and not tensor.values))
    if sparse and len(keys) != len(tensor.values):
        raise BadRequestError(
            f"{where}: got {len(keys)} keys for {len(tensor.values)} values; send one for each"
        )
    if not sparse and len(tensor.values) != len(row):
        raise wrong_count(where, len(tensor.values), len(row))
    # Besides axes of one, there is only that of the features.
    if tensor.shape and [n for n in tensor.shape if n != 1] != [n for n in (len(row),) if n != 1]:
        raise BadRequestError(
            f"{where}: the shape is {_list(tensor.shape)}, the model takes [{len(row)}]"
        )
    values = np.array(tensor.values[:], np.float64)
    if sparse:
        _check_keys(keys, where, len(row))
    over = np.abs(values) >= FLOAT32_OVERFLOW
    if over.any():
        place = int(over.argmax())
        column = schema.label(keys[place] if sparse else place)
        raise too_large(f"{where}, {column}", str(values[place]))
    row[keys if sparse else slice(None)] = values


def _tensor(data: memoryview, where: str, features: int) -> Any:
    """The tensor of the record's features."""
    from google.protobuf.message import DecodeError

    most = _OTHER_BYTES + _BYTES_PER_FEATURE * features
    if len(data) > most:
        raise BadRequestError(f"{where} has {len(data):,} bytes; send at most {most:,} for a row")
    try:
        record = make_record_type().FromString(bytes(data))
        found = {key: record.features[key] for key in record.features}
    except (DecodeError, UnicodeDecodeError):
        raise BadRequestError(
            f"{where} is not a protobuf message of the type aialgs.data.Record"
        ) from None
    if set(found) != {_KEY}:
        names = _list([quote(name) for name in found]) if found else "none"
        raise BadRequestError(f'{where}: the features must be in "{_KEY}" alone; found: {names}')
    kind = found[_KEY].WhichOneof("value")
    if kind in (None, "bytes"):
        raise BadRequestError(f'{where}: "{_KEY}" holds {kind or "nothing"}; send a tensor')
    return getattr(found[_KEY], kind)


def _check_keys(keys: list[int], where: str, features: int) -> None:
    top = max(keys, default=0)
    if top >= features:
        raise BadRequestError(
            f"{where}: key {top} is out of the model's range, 0 to {features - 1}"
        )
    if len(set(keys)) < len(keys):
        doubled = next(key for key, count in Counter(keys).items() if count > 1)
        raise BadRequestError(f"{where}: key {doubled} is there twice")


def _list(items: Sequence[object]) -> str:
    more = ", ..." if len(items) > _MOST_LISTED else ""
    return "[" + ", ".join(map(str, items[:_MOST_LISTED])) + more + "]"


@cache
def make_record_type() -> Any:
    """The class of `aialgs.data.Record`, made on first use: the import takes a while.

    Its pool is its own, for the SageMaker SDK puts the same type into the common one.
    """
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(
        name="record.proto", package=_PACKAGE, syntax="proto2", **_messages()
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Record"))


def _messages() -> dict[str, Any]:
    """The message types as an argument of `FileDescriptorProto`."""
    content = [_field("value", 1, "BYTES", repeated=True), _field("content_type", 2, "STRING")]
    value = [
        _field("float32_tensor", 2, "Float32Tensor", oneof_index=0),
        _field("float64_tensor", 3, "Float64Tensor", oneof_index=0),
        _field("int32_tensor", 7, "Int32Tensor", oneof_index=0),
        _field("bytes", 9, "Bytes", oneof_index=0),
    ]
    record = [
        _field("features", 1, "Record.FeaturesEntry", repeated=True),
        _field("label", 2, "Record.LabelEntry", repeated=True),
        _field("uid", 3, "STRING"),
        _field("metadata", 4, "STRING"),
        _field("configuration", 5, "STRING"),
    ]
    types = [
        _tensor_message("Float32Tensor", "FLOAT"),
        _tensor_message("Float64Tensor", "DOUBLE"),
        _tensor_message("Int32Tensor", "INT32"),
        {"name": "Bytes", "field": content},
        {"name": "Value", "field": value, "oneof_decl": [{"name": "value"}]},
        {
            "name": "Record",
            "field": record,
            "nested_type": [_map_entry("FeaturesEntry"), _map_entry("LabelEntry")],
        },
    ]
    return {"message_type": types}


def _tensor_message(name: str, kind: str) -> dict[str, Any]:
    types = {"values": kind, "keys": "UINT64", "shape": "UINT64"}
    fields = [
        _field(field, number, types[field], repeated=True, options={"packed": True})
        for number, field in enumerate(types, 1)
    ]
    return {"name": name, "field": fields}


def _map_entry(name: str) -> dict[str, Any]:
    fields = [_field("key", 1, "STRING"), _field("value", 2, "Value")]
    return {"name": name, "field": fields, "options": {"map_entry": True}}


def _field(
    name: str, number: int, kind: str, repeated: bool = False, **others: Any
) -> dict[str, Any]:
    label = "LABEL_REPEATED" if repeated else "LABEL_OPTIONAL"
    field = {"name": name, "number": number, "label": label, **others}
    if kind.isupper():
        return field | {"type": f"TYPE_{kind}"}
    return field | {"type": "TYPE_MESSAGE", "type_name": f".{_PACKAGE}.{kind}"}


register(
    Codec(
        "application/x-recordio-protobuf",
        decode,
        encode,
        aliases=("recordio-protobuf",),
        expands=True,
    )
)
