"""application/x-npy in and out, and application/x-npz in: what numpy.save and numpy.savez write.

An array is a row (features,), or rows (rows, features), or has a field for each feature. An NPZ
holds one such array, or an array (rows,) for each feature. Nothing is ever unpickled.
"""

from __future__ import annotations

import io
import math
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from mme_handler.codecs.arrays import copy, copy_column, no_rows
from mme_handler.codecs.matrix import Matrix, quote, wrong_count
from mme_handler.codecs.output import Outputs
from mme_handler.codecs.registry import Body, Codec, register
from mme_handler.codecs.schema import Schema
from mme_handler.errors import BadRequestError, RequestTooLargeError

MAX_UNPACKED: Final = 256 << 20
"""How many bytes the arrays of an NPZ may have in all."""

_VERSIONS: Final = frozenset({(1, 0), (2, 0), (3, 0)})
_PREFIX_BYTES: Final = 12  # magic, version and the header's length, of version 2 and later
_HEADER_BYTES: Final = 10_000
_FIELD_BYTES: Final = 200  # more for the header of an array with a field for each feature

_MOST_ITEM_BYTES: Final = 8
_MOST_CHARACTERS: Final = 200

# The end record of a ZIP without a comment: nothing of zip64, the directory's size.
_END: Final = struct.Struct("<4s8xIIH")  # magic, size, offset, comment
_END_MAGIC: Final = b"PK\x05\x06"
_END64_MAGIC: Final = b"PK\x06\x07"
_END64_BYTES: Final = 20
_ENTRY_BYTES: Final = 256
_ENCRYPTED: Final = 1
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_SUFFIX: Final = ".npy"
_ZIP_ERRORS: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)


class _Header(NamedTuple):
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    start: int
    """Where the values start."""

    def array(self, content: Body) -> NDArray[Any]:
        """The array in `content`, of which it is a view."""
        count = math.prod(self.shape)
        flat = np.frombuffer(content, self.dtype, count, self.start)
        return flat.reshape(self.shape, order="F" if self.fortran else "C")


def decode(body: Body, schema: Schema) -> Matrix:
    """Read a non-empty NPY body.

    Returns:
        A C-contiguous float32 array (rows, features); NaN is missing.

    Raises:
        BadRequestError: the body is no NPY, holds no numbers, or does not fit the model.
        RequestTooLargeError: its rows would take too much memory.
    """
    view = memoryview(body)
    header = _header(view[: _header_limit(schema)], len(view), schema)
    return _table(header, view, schema)


def decode_npz(body: Body, schema: Schema) -> Matrix:
    """Read a non-empty NPZ body; an array for each feature is matched by its name.

    Returns:
        A C-contiguous float32 array (rows, features); NaN is missing.

    Raises:
        BadRequestError: the body is no NPZ, holds no numbers, or does not fit the model.
        RequestTooLargeError: its rows would take too much memory.
    """
    _check_directory(memoryview(body), schema.features)
    with _zip_errors(), zipfile.ZipFile(io.BytesIO(body)) as archive:
        members = archive.infolist()
        _check_members(members)
        headers = [_member_header(archive, member, schema) for member in members]
        if len(members) == 1 and (len(headers[0].shape) == 2 or headers[0].dtype.names):
            return _table(headers[0], _read(archive, members[0]), schema)
        return _columns(archive, members, headers, schema)


def encode(outputs: Outputs) -> bytes:
    """The values of the one output as they are; several as an array with a field for each."""
    array = outputs[0].values
    if len(outputs) > 1:
        fields = [(o.name, o.values.dtype, o.values.shape[1:]) for o in outputs]
        array = np.empty(len(array), np.dtype(fields))
        for output in outputs:
            array[output.name] = output.values
    stream = io.BytesIO()
    npy.write_array(stream, array, allow_pickle=False)
    return stream.getvalue()


def _header_limit(schema: Schema) -> int:
    return _PREFIX_BYTES + _HEADER_BYTES + _FIELD_BYTES * schema.features


def _header(head: Body, size: int, schema: Schema) -> _Header:
    """The header of an NPY of `size` bytes that starts with `head`, checked against both."""
    shape, fortran, dtype, start = _parse(bytes(head))
    if not all(type(n) is int and abs(n) <= sys.maxsize for n in shape):
        raise BadRequestError("the header's shape must be of whole numbers of 64 bits")
    _check_dtype(dtype)
    if not 1 <= len(shape) <= (1 if dtype.names else 2):
        kind = "of fields " if dtype.names else ""
        raise BadRequestError(
            f"expected an array {kind}of {'1 dimension' if kind else '1 or 2 dimensions'}, "
            f"got the shape {_cut(str(shape))}"
        )
    expected = math.prod(shape) * dtype.itemsize
    if min(shape) < 0 or expected != size - start:
        raise BadRequestError(
            f"the header says {_cut(str(shape))} values of {dtype.itemsize} bytes, but "
            f"{size - start:,} bytes follow it"
        )
    if not shape[0]:
        raise no_rows()
    return _Header(dtype, shape, fortran, start)


def _parse(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """What the header says, and where it ends."""
    try:
        version = npy.read_magic(io.BytesIO(head))
        first = 10 if version == (1, 0) else 12
        start = first + int.from_bytes(head[8:first], "little")
        text = head[first:start]
        if version not in _VERSIONS or start > len(head):
            raise ValueError("its version is unknown, or its header too long or cut off")
        if version == (3, 0):  # UTF-8, which numpy reads by no public function
            text = text.decode().encode("ascii", "backslashreplace")
        stream = io.BytesIO(len(text).to_bytes(4, "little") + text)
        shape, fortran, dtype = npy.read_array_header_2_0(stream, max_header_size=len(text))
    except Exception as error:  # of nearly any type, for numpy evaluates the header as Python
        raise BadRequestError(f"the body is not an NPY array: {_reason(error)}") from None
    return shape, fortran, dtype, start


def _reason(error: Exception) -> str:
    return _cut(str(error).partition("\n")[0]) or type(error).__name__


def _cut(text: str) -> str:
    text = text.encode(errors="backslashreplace").decode()  # a lone surrogate cannot be sent
    return text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "..."


def _check_dtype(dtype: np.dtype[Any]) -> None:
    """Refuse all but numbers; above all Python objects, which only pickle can read."""
    for name in dtype.names or (None,):
        kind = dtype if name is None else dtype[name]
        if kind.kind not in "biuf" or kind.itemsize > _MOST_ITEM_BYTES:
            where = "" if name is None else f"the field {quote(name)}: "
            raise BadRequestError(
                f"{where}values of the type {_cut(str(kind))} are not accepted; send numbers, "
                "such as float32"
            )


def _table(header: _Header, content: Body, schema: Schema) -> Matrix:
    """The matrix of one array that holds all features."""
    shape, names = header.shape, header.dtype.names
    if names:
        return _fields(header, content, names, schema)
    rows, columns = shape if len(shape) == 2 else (1, shape[0])
    if columns != schema.features:
        raise wrong_count("row 1" if len(shape) == 1 else "each row", columns, schema.features)
    schema.check_size(rows)
    matrix = np.empty((rows, columns), np.float32)
    copy(matrix, header.array(content).reshape(rows, columns), schema)
    return matrix


def _fields(header: _Header, content: Body, names: tuple[str, ...], schema: Schema) -> Matrix:
    order = schema.order(names) or range(len(names))
    array = header.array(content)
    schema.check_size(len(array))
    matrix = np.empty((len(array), schema.features), np.float32)
    for column, field in enumerate(order):
        copy_column(matrix, column, array[names[field]], schema)
    return matrix


@contextmanager
def _zip_errors() -> Iterator[None]:
    try:
        yield
    except _ZIP_ERRORS as error:
        raise BadRequestError(f"the body is not an NPZ file: {_reason(error)}") from None


def _check_directory(view: memoryview, features: int) -> None:
    """Refuse a list of members far longer than the model's features need: it is slow to read."""
    end = bytes(view[-_END.size :])
    if len(end) < _END.size or not end.startswith(_END_MAGIC) or not end.endswith(b"\0\0"):
        raise BadRequestError("the body is not an NPZ file: it does not end as a ZIP file does")
    _, directory, _, _ = _END.unpack(end)
    before = bytes(view[: -_END.size][-_END64_BYTES:])
    if before.startswith(_END64_MAGIC) or directory > _ENTRY_BYTES * (features + 16):
        raise BadRequestError(
            f"the NPZ file has too many members; the model takes {features} features"
        )


def _check_members(members: list[zipfile.ZipInfo]) -> None:
    if not members:
        raise BadRequestError("the NPZ file is empty")
    for member in members:
        if not member.filename.endswith(_SUFFIX):
            raise BadRequestError(f"{quote(member.filename)} in the NPZ file is not an NPY array")
        if member.flag_bits & _ENCRYPTED or member.compress_type not in _METHODS:
            raise BadRequestError(
                f"{quote(member.filename)} is encrypted, or compressed by another method than "
                "deflate"
            )
    total = sum(member.file_size for member in members)
    if total > MAX_UNPACKED:
        raise RequestTooLargeError(
            f"the NPZ file unpacks to {total:,} bytes; send at most {MAX_UNPACKED:,}"
        )


def _member_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo, schema: Schema) -> _Header:
    with archive.open(member) as stream:
        return _header(stream.read(_header_limit(schema)), member.file_size, schema)


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """The member's content, of which its header was found to be right."""
    with archive.open(member) as stream:
        content = stream.read(member.file_size + 1)
    if len(content) != member.file_size:
        raise BadRequestError(f"{quote(member.filename)} in the NPZ file is cut off")
    return content


def _columns(
    archive: zipfile.ZipFile,
    members: list[zipfile.ZipInfo],
    headers: list[_Header],
    schema: Schema,
) -> Matrix:
    """The matrix of an array for each feature."""
    names = [member.filename.removesuffix(_SUFFIX) for member in members]
    order = schema.order(names) or range(len(names))
    rows = headers[0].shape[0]
    for name, header in zip(names, headers, strict=True):
        if header.shape != (rows,) or header.dtype.names:
            raise BadRequestError(
                f"{quote(name)} has the shape {_cut(str(header.shape))}; send one array of rows "
                f"and columns, or for each feature an array of its values, all of one length"
            )
    schema.check_size(rows)
    matrix = np.empty((rows, schema.features), np.float32)
    for column, index in enumerate(order):
        values = headers[index].array(_read(archive, members[index]))
        copy_column(matrix, column, values, schema)
    return matrix


register(Codec("application/x-npy", decode, encode, aliases=("application/npy", "npy")))
register(Codec("application/x-npz", decode_npz, aliases=("npz",), expands=True))
