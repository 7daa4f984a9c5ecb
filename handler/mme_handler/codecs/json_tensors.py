"""Tensors of the open inference protocol (KServe V2) as rows.

One tensor of shape [rows, features], or [features] for a single row; or one tensor of shape [rows]
or [rows, 1] for each feature. Values are flat in row-major order, or nested as the shape says.
"""

from __future__ import annotations

from itertools import chain
from typing import Any, Final, NamedTuple

from mme_handler.codecs.chunks import batches
from mme_handler.codecs.json_rows import decode_columns, decode_rows, describe
from mme_handler.codecs.matrix import Matrix, quote, stack
from mme_handler.codecs.schema import Schema
from mme_handler.errors import BadRequestError

_INTEGERS = tuple(f"{kind}{bits}" for kind in ("INT", "UINT") for bits in (8, 16, 32, 64))
_DATATYPES: Final = ("FP16", "FP32", "FP64", *_INTEGERS, "BOOL", "BYTES")
_MOST_DIMENSIONS: Final = 2


class _Tensor(NamedTuple):
    where: str
    name: str
    shape: list[int]
    values: list[Any]

    @property
    def rows(self) -> int:
        return self.shape[0]


def are_tensors(inputs: Any) -> bool:
    """Whether `inputs` looks like a list of tensors, not of rows."""
    first = inputs[0] if isinstance(inputs, list) and inputs else None
    return isinstance(first, dict) and ("shape" in first or "datatype" in first)


def decode_tensors(inputs: list[Any], schema: Schema) -> Matrix:
    """The matrix of a request's tensors.

    Raises:
        BadRequestError: names the tensor, counted from 1, or the row and the column.
        RequestTooLargeError: there are too many rows.
    """
    if len(inputs) == 1 and schema.features > 1:
        return _whole(_tensor(inputs[0], "input 1", schema), schema)
    return _by_feature(inputs, schema)


def _whole(tensor: _Tensor, schema: Schema) -> Matrix:
    """The matrix of a tensor that holds all features."""
    width = tensor.shape[-1]
    if width != schema.features:
        raise BadRequestError(
            f"{tensor.where}: the shape {tensor.shape} has {width} features, "
            f"the model takes {schema.features}"
        )
    rows_in_all = len(tensor.values) // width
    schema.check_size(rows_in_all)
    parts = []
    for batch in batches(rows_in_all, width):
        flat = tensor.values[batch.start * width : batch.stop * width]
        rows = [flat[start : start + width] for start in range(0, len(flat), width)]
        parts.append(decode_rows(rows, batch.start + 1, schema))
    return stack(parts)


def _by_feature(inputs: list[Any], schema: Schema) -> Matrix:
    """The matrix of tensors that hold a feature each."""
    columns: list[_Tensor] = []
    for number, document in enumerate(inputs, 1):
        tensor = _tensor(document, f"input {number}", schema)
        if tensor.shape[1:] not in ([], [1]):
            raise BadRequestError(
                f"{tensor.where}: the shape is {tensor.shape}; send one tensor of shape "
                f"[rows, {schema.features}], or one of shape [rows] for each feature"
            )
        if columns and tensor.rows != columns[0].rows:
            raise BadRequestError(
                f"{tensor.where} has {tensor.rows} rows, {columns[0].where} has {columns[0].rows}"
            )
        columns.append(tensor)
    # A lone tensor is the only feature whatever it is called: clients must call it something.
    order = schema.order([tensor.name for tensor in columns]) if len(columns) > 1 else None
    if len(columns) != schema.features:
        raise BadRequestError(f"got {len(columns)} tensors, the model takes {schema.features}")
    schema.check_size(columns[0].rows)
    values = [tensor.values for tensor in columns]
    return decode_columns([values[place] for place in order] if order else values, schema)


def _tensor(document: Any, where: str, schema: Schema) -> _Tensor:
    if not isinstance(document, dict):
        raise BadRequestError(f"{where}: expected a tensor, got {describe(document)}")
    name = document.get("name", "")
    if not isinstance(name, str):
        raise BadRequestError(f"{where}: the name must be a text")
    if name:
        where = f"{where} ({quote(name)})"
    shape = _shape(document.get("shape"))
    if not shape:
        raise BadRequestError(
            f'{where}: "shape" must be a list of one or two whole numbers, as in '
            f"[1, {schema.features}]"
        )
    if 0 in shape:
        raise BadRequestError(f"{where}: the tensor has no rows; send at least one")
    datatype = document.get("datatype")
    if datatype not in _DATATYPES:
        raise BadRequestError(
            f"{where}: the datatype {describe(datatype)} is not supported; send one of: "
            f"{', '.join(_DATATYPES)}"
        )
    if "data" not in document:
        raise BadRequestError(f'{where}: the tensor has no "data"; send the values as JSON')
    values = _flat(document["data"], shape, where)
    if datatype == "BOOL":
        values = [int(value) if isinstance(value, bool) else value for value in values]
    return _Tensor(where, name, shape, values)


def _shape(shape: Any) -> list[int] | None:
    """The shape if it has one or two sizes; else None."""
    if not isinstance(shape, list) or len(shape) > _MOST_DIMENSIONS:
        return None
    return shape if all(type(size) is int and size >= 0 for size in shape) else None


def _flat(data: Any, shape: list[int], where: str) -> list[Any]:
    """The values in row-major order, as many as the shape says."""
    if not isinstance(data, list):
        raise BadRequestError(f'{where}: "data" must be a list, got {describe(data)}')
    if data and isinstance(data[0], list) and len(shape) == _MOST_DIMENSIONS:
        if any(not isinstance(row, list) or len(row) != shape[1] for row in data):
            raise BadRequestError(f"{where}: the lists in the data do not fit the shape {shape}")
        values: list[Any] = []
        for batch in batches(len(data), shape[1]):
            values.extend(chain.from_iterable(data[batch]))
    else:
        values = data
    size = shape[0] * (shape[1] if len(shape) == _MOST_DIMENSIONS else 1)
    if len(values) != size:
        raise BadRequestError(f"{where}: the shape {shape} needs {size} values, got {len(values)}")
    return values
