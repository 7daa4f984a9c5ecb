"""application/vnd.apache.arrow.stream: a table as a stream of Arrow record batches, in and out."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from mme_handler.codecs.matrix import Matrix
from mme_handler.codecs.output import Outputs
from mme_handler.codecs.registry import Body, Codec, register
from mme_handler.codecs.schema import Schema
from mme_handler.codecs.tables import MAX_UNPACKED, Reader, reading, to_table, too_much
from mme_handler.errors import BadRequestError

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_MESSAGES: Final = 10_000
_FILE_MAGIC: Final = b"ARROW1"

# Where the fields are in Arrow's flatbuffers: format/Message.fbs.
_HEADER_TYPE, _HEADER = 1, 2
_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3
_DICTIONARY_DATA = 1
_BUFFERS, _COMPRESSION = 2, 3


def decode(body: Body, schema: Schema) -> Matrix:
    """Read a non-empty body; columns are matched by name.

    Returns:
        A C-contiguous float32 array (rows, features); a null is NaN.

    Raises:
        BadRequestError: the body is no Arrow stream, or does not fit the model.
        RequestTooLargeError: it would take too much memory.
    """
    import pyarrow as pa

    if bytes(body[: len(_FILE_MAGIC)]) == _FILE_MAGIC:
        raise BadRequestError("the body is an Arrow file; send Arrow's stream format")
    with reading("Arrow stream"):
        source = pa.py_buffer(body)
        _check_messages(source)
        options = pa.ipc.IpcReadOptions(use_threads=False)
        with pa.ipc.open_stream(source, options=options) as stream:
            return Reader(stream.schema, schema).matrix(stream)


def encode(outputs: Outputs) -> bytes:
    """One record batch with a column for each output."""
    import pyarrow as pa

    table = to_table(outputs)
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(use_threads=False)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _check_messages(source: pa.Buffer) -> None:
    """Refuse batches that decompress to too much: pyarrow allocates whatever they say."""
    import pyarrow as pa

    size = 0
    for count, message in enumerate(pa.ipc.MessageReader.open_stream(pa.BufferReader(source)), 1):
        if count > _MOST_MESSAGES:
            raise BadRequestError(
                f"the stream has more than {_MOST_MESSAGES:,} batches; send fewer, larger ones"
            )
        size += _decompressed(_bytes(message.metadata), _bytes(message.body))
        if size > MAX_UNPACKED:
            raise too_much(size)


def _decompressed(metadata: memoryview, content: memoryview) -> int:
    """How many bytes the batch says it decompresses to; 0 if it is not compressed."""
    message = _follow(metadata, 0)
    kind = _field(metadata, message, _HEADER_TYPE)
    header = _field(metadata, message, _HEADER)
    if not kind or not header or metadata[kind] not in (_DICTIONARY_BATCH, _RECORD_BATCH):
        return 0
    batch = _follow(metadata, header)
    if metadata[kind] == _DICTIONARY_BATCH:
        data = _field(metadata, batch, _DICTIONARY_DATA)
        if not data:
            return 0
        batch = _follow(metadata, data)
    buffers = _field(metadata, batch, _BUFFERS)
    if not buffers or not _field(metadata, batch, _COMPRESSION):
        return 0
    vector = _follow(metadata, buffers)
    size = 0
    for i in range(_at("<I", metadata, vector)):
        start = _at("<q", metadata, vector + 4 + 16 * i)
        length = _at("<q", metadata, vector + 12 + 16 * i)
        if length:
            says = _at("<q", content, start)
            size += length if says == -1 else says  # -1: this buffer is not compressed
            if says < -1:
                raise ValueError("a buffer has a negative size")
    return size


def _bytes(buffer: pa.Buffer | None) -> memoryview:
    return memoryview(buffer if buffer is not None else b"").cast("B")


def _at(form: str, view: memoryview, position: int) -> Any:
    if position < 0:  # which `unpack_from` would count from the end
        raise ValueError("an offset is negative")
    return struct.unpack_from(form, view, position)[0]


def _follow(view: memoryview, position: int) -> int:
    """Where the offset at `position` leads."""
    return position + int(_at("<I", view, position))


def _field(view: memoryview, table: int, number: int) -> int:
    """Where the field of a flatbuffer's table is; 0 if it is left out."""
    vtable = table - _at("<i", view, table)
    entry = 4 + 2 * number
    if entry + 2 > _at("<H", view, vtable):
        return 0
    offset = _at("<H", view, vtable + entry)
    return table + offset if offset else 0


register(Codec("application/vnd.apache.arrow.stream", decode, encode, expands=True))
