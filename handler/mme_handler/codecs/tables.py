"""Arrow tables to feature matrices, and outputs to Arrow tables.

pyarrow is imported in the functions alone: it takes 36 MB and starts a thread, which a server that
never sees a table need not have.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from mme_handler.codecs.arrays import copy, copy_column, no_rows
from mme_handler.codecs.chunks import batches
from mme_handler.codecs.matrix import Matrix, quote, stack, wrong_count
from mme_handler.codecs.output import Outputs
from mme_handler.codecs.schema import Schema
from mme_handler.errors import BadRequestError, RequestTooLargeError

if TYPE_CHECKING:
    import pyarrow as pa

MAX_UNPACKED: Final = 256 << 20
"""How many bytes a table may take once it is decompressed."""

# What pandas names an index that it stores among the columns.
_INDEX_PREFIX: Final = "__index_level_"
_MOST_CHARACTERS: Final = 200
_FLOATS: Final = {"halffloat": "float16", "float": "float32", "double": "float64"}


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn what pyarrow raises about a body that is not `what` into a BadRequestError."""
    import pyarrow as pa

    try:
        yield
    except MemoryError:
        raise RequestTooLargeError(f"the {what} takes too much memory to read") from None
    except (pa.ArrowException, OSError, ValueError, LookupError, struct.error) as error:
        reason = str(error).partition("\n")[0][:_MOST_CHARACTERS]
        raise BadRequestError(f"the body is not a valid {what}: {reason}") from None


def too_much(size: int) -> RequestTooLargeError:
    """The error for a table that would take `size` bytes."""
    return RequestTooLargeError(
        f"the table takes {size:,} bytes when it is unpacked; send at most {MAX_UNPACKED:,}"
    )


class Reader:
    """Converts the batches of a table of the columns `fields`.

    Raises:
        BadRequestError: the columns are not the model's, or of a type that is no number.
    """

    def __init__(self, fields: pa.Schema, schema: Schema) -> None:
        self._schema = schema
        kept = [i for i, name in enumerate(fields.names) if not _is_index(name)]
        names = [fields.names[i] for i in kept]
        self.is_list = len(names) == 1 and _is_list(fields.types[kept[0]])
        """Whether there is one column, of lists that hold all features of a row."""
        self._positions = kept
        if self.is_list:
            _check_list(fields.field(kept[0]))
            return
        order = schema.order(names) or range(len(names))
        self._positions = [kept[i] for i in order]
        for column, position in enumerate(self._positions):
            _check_type(fields.types[position], column, schema)

    def matrix(self, source: Iterable[pa.RecordBatch]) -> Matrix:
        """The C-contiguous float32 matrix (rows, features); a null is NaN.

        Raises:
            BadRequestError: names the row, counted from 1, and the column of what is wrong.
            RequestTooLargeError: the batches take too much memory.
            ArrowException: a batch is not valid.
        """
        parts: list[Matrix] = []
        rows = size = 0
        for batch in source:
            size += batch.get_total_buffer_size()
            if size > MAX_UNPACKED:
                raise too_much(size)
            self._schema.check_size(rows + batch.num_rows)
            if batch.num_rows:
                batch.validate(full=True)  # else an offset out of bounds could end the process
                parts.append(self._convert(batch, rows))
            rows += batch.num_rows
        if not parts:
            raise no_rows()
        return stack(parts)

    def _convert(self, batch: pa.RecordBatch, first: int) -> Matrix:
        matrix = np.empty((batch.num_rows, self._schema.features), np.float32)
        width = self._schema.features if self.is_list else 1
        for column, position in enumerate(self._positions):
            array = batch.column(position)
            # All in one, a column of many million nulls would hold up the other requests.
            for rows in batches(batch.num_rows, width):
                part = array.slice(rows.start, rows.stop - rows.start)
                self._fill(matrix[rows], part, column, first + rows.start)
        return matrix

    def _fill(self, matrix: Matrix, array: pa.Array, column: int, first: int) -> None:
        import pyarrow as pa

        if self.is_list:
            values = _list_values(array, first, self._schema.features)
            copy(matrix, values.reshape(matrix.shape), self._schema, first)
            return
        is_dictionary = pa.types.is_dictionary(array.type)
        if is_dictionary and _is_number(array.type.value_type):
            array = array.dictionary_decode()
        if _is_number(array.type):
            copy_column(matrix, column, numbers(array), self._schema, first)
        else:
            matrix[:, column] = self._codes(
                array if is_dictionary else array.dictionary_encode(), column
            )

    def _codes(self, array: pa.DictionaryArray, column: int) -> NDArray[np.float64]:
        """The code of each category; only those that are used need be known to the model."""
        codes = np.full(len(array), np.nan)
        valid = _valid(array.indices)
        indices = _raw(array.indices)[valid]
        used, inverse = np.unique(indices, return_inverse=True)
        known = np.array([self._code(array, i, column) for i in used.tolist()], np.float64)
        codes[valid] = known[inverse]
        return codes

    def _code(self, array: pa.DictionaryArray, index: int, column: int) -> float | None:
        text = array.dictionary[index].as_py()
        return np.nan if text is None else self._schema.code(column, text)


def to_table(outputs: Outputs) -> pa.Table:
    """A column for each output.

    A row's values are a fixed-size list, or a struct where they have names; of two named axes, a
    struct of structs; with a class before them, a list of structs.
    """
    import pyarrow as pa

    columns = [_column(o.values, o.columns, o.axes) for o in outputs]
    return pa.table(columns, names=[o.name for o in outputs])


def _column(values: NDArray[Any], names: tuple[str, ...] | None, axes: int) -> pa.Array:
    import pyarrow as pa

    if values.ndim == 1:
        flat = np.ascontiguousarray(values)
        kind = pa.from_numpy_dtype(flat.dtype)
        return pa.Array.from_buffers(kind, len(flat), [None, pa.py_buffer(flat)])
    if names is None or values.ndim - 1 > axes:
        inner = values.reshape(-1, *values.shape[2:])
        return pa.FixedSizeListArray.from_arrays(_column(inner, names, axes), values.shape[1])
    children = [_column(values[:, i], names, axes - 1) for i in range(len(names))]
    return pa.StructArray.from_arrays(children, names=list(names))


def _is_index(name: str) -> bool:
    return name.startswith(_INDEX_PREFIX)


def _is_number(kind: pa.DataType) -> bool:
    from pyarrow import types

    return bool(
        types.is_floating(kind)
        or types.is_integer(kind)
        or types.is_boolean(kind)
        or types.is_decimal(kind)
        or types.is_null(kind)
    )


def _value_type(kind: pa.DataType) -> pa.DataType:
    """The type of a dictionary's values, or the type itself."""
    from pyarrow import types

    return kind.value_type if types.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    from pyarrow import types

    kind = _value_type(kind)
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _is_list(kind: pa.DataType) -> bool:
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _check_type(kind: pa.DataType, column: int, schema: Schema) -> None:
    if _is_number(kind) or (column in schema.categories and _is_text(kind)):
        return
    # Where the model has only codes, a dictionary's numbers are not likely to be these.
    only_codes = column in schema.categories and column not in schema.held
    if _is_number(_value_type(kind)) and not only_codes:
        return
    texts = ", or texts (utf8, or a dictionary of it)" if column in schema.categories else ""
    raise BadRequestError(
        f"{schema.label(column)}: a column of the type {str(kind)[:_MOST_CHARACTERS]} is not "
        f"accepted; send numbers{texts}"
    )


def _check_list(field: pa.Field) -> None:
    if not _is_number(field.type.value_type):
        raise BadRequestError(
            f"{quote(field.name)}: lists of the type {str(field.type)[:_MOST_CHARACTERS]} are not "
            "accepted; send lists of numbers"
        )


def numbers(array: pa.Array) -> NDArray[Any]:
    """The values of a validated array of numbers; NaN for null."""
    import pyarrow as pa

    kind = array.type
    if pa.types.is_null(kind):
        return np.full(len(array), np.nan, np.float32)
    if pa.types.is_decimal(kind):
        array = array.cast(pa.float64(), safe=False)
    values = _bits(array, 1) if pa.types.is_boolean(kind) else _raw(array)
    if array.null_count:
        values = np.where(_valid(array), values, np.array(np.nan, _float_like(values)))
    return values


def _float_like(values: NDArray[Any]) -> np.dtype[Any]:
    """The type to hold the numbers of `values` and NaN."""
    return values.dtype if values.dtype.kind == "f" else np.dtype(np.float64)


# Not `to_numpy`, which imports pandas wherever it is installed.
def _raw(array: pa.Array) -> NDArray[Any]:
    """The values of a validated array of integers or floats; anything where they are null."""
    name = str(array.type)
    buffer = array.buffers()[1]
    end = array.offset + len(array)
    return np.frombuffer(buffer, _FLOATS.get(name, name), end)[array.offset :]


def _valid(array: pa.Array) -> NDArray[np.bool_]:
    """Which values of a validated array are not null."""
    return _bits(array, 0) if array.buffers()[0] else np.ones(len(array), np.bool_)


def _bits(array: pa.Array, buffer: int) -> NDArray[np.bool_]:
    start, offset = divmod(array.offset, 8)  # it may be a slice of a long array
    packed = np.frombuffer(array.buffers()[buffer], np.uint8, offset=start)
    count = offset + len(array)
    bits = np.unpackbits(packed[: -(-count // 8)], count=count, bitorder="little")
    return bits[offset:].view(np.bool_)


def _list_values(array: pa.Array, first: int, features: int) -> NDArray[Any]:
    """The values of all rows, each a list of as many as the model takes, one after the other."""
    import pyarrow as pa

    if array.null_count:
        row = int(_valid(array).argmin())
        raise BadRequestError(f"row {first + row + 1}: expected a list of numbers, got null")
    if pa.types.is_fixed_size_list(array.type):
        lengths = np.full(len(array), array.type.list_size)
    else:
        lengths = np.diff(_raw(array.offsets))
    wrong = lengths != features
    if wrong.any():
        row = int(wrong.argmax())
        raise wrong_count(f"row {first + row + 1}", int(lengths[row]), features)
    return numbers(array.flatten())
