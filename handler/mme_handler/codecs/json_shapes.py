"""Which shapes a JSON document of rows may have; application_json lists them."""

from __future__ import annotations

from typing import Any

from mme_handler.codecs.chunks import batches
from mme_handler.codecs.json_rows import decode_all, decode_columns, describe, feature_names
from mme_handler.codecs.json_tensors import are_tensors, decode_tensors
from mme_handler.codecs.matrix import Matrix
from mme_handler.codecs.schema import Schema
from mme_handler.errors import BadRequestError

_SHAPES = '{"instances": [row, ..]}, {"features": row} or [row, ..]'
_NO_ROWS = "the body has no rows; send at least one"
_ROW_KEYS = ("instances", "dataframe_records", "inputs", "features")


def decode_document(document: Any, schema: Schema) -> Matrix:
    """The matrix of a parsed body.

    Raises:
        BadRequestError: the document has none of the shapes, or does not fit the model.
        RequestTooLargeError: its tensors have too many rows.
    """
    if isinstance(document, dict):
        return _object(document, schema)
    return _rows(document, schema)


def _rows(rows: Any, schema: Schema) -> Matrix:
    if not isinstance(rows, list):
        raise BadRequestError(f"expected a list of rows, got {describe(rows)}; send {_SHAPES}")
    if not rows:
        raise BadRequestError(_NO_ROWS)
    return decode_all(rows if isinstance(rows[0], list | dict) else [rows], schema)


def _object(document: dict[str, Any], schema: Schema) -> Matrix:
    if _has_names(document, schema):
        return _named(document, schema)
    for key in _ROW_KEYS:
        if key in document:
            rows = document[key]
            return _inputs(rows, schema) if key == "inputs" else _rows(rows, schema)
    if "dataframe_split" in document:
        split = document["dataframe_split"]
        if isinstance(split, dict) and "columns" in split and "data" in split:
            return _split(split["columns"], split["data"], schema)
        raise BadRequestError('"dataframe_split" must be an object with "columns" and "data"')
    if "columns" in document and "data" in document:
        return _split(document["columns"], document["data"], schema)
    raise _no_shape(document, schema)


def _has_names(document: dict[str, Any], schema: Schema) -> bool:
    """Whether the keys are the names of the model's features, neither more nor fewer."""
    if len(document) != schema.features:
        return False
    return all(name in document for name in feature_names(schema))


def _named(document: dict[str, Any], schema: Schema) -> Matrix:
    """One record, or a list of values for each feature."""
    columns = [document[name] for name in feature_names(schema)]
    if not any(isinstance(column, list) for column in columns):
        return decode_all([columns], schema)
    for number, column in enumerate(columns):
        label = schema.label(number)
        if not isinstance(column, list):
            raise BadRequestError(
                f"{label}: expected a list of values, as of other features, got {describe(column)}"
            )
        if len(column) != len(columns[0]):
            raise BadRequestError(
                f"{label} has {len(column)} values, {schema.label(0)} has {len(columns[0])}: "
                "send one of each feature for every row"
            )
    if not columns[0]:
        raise BadRequestError(_NO_ROWS)
    return decode_columns(columns, schema)


def _inputs(inputs: Any, schema: Schema) -> Matrix:
    if isinstance(inputs, dict):
        if not _has_names(inputs, schema):
            raise _no_shape(inputs, schema)
        return _named(inputs, schema)
    if are_tensors(inputs) and not _has_names(inputs[0], schema):
        return decode_tensors(inputs, schema)
    return _rows(inputs, schema)


def _split(names: Any, rows: Any, schema: Schema) -> Matrix:
    """Rows of values in the order of `names`, as pandas' orient="split" has them."""
    # pandas numbers the columns of a table without names.
    if not isinstance(names, list) or any(type(name) not in (str, int) for name in names):
        raise BadRequestError('"columns" must be a list of feature names')
    order = schema.order([str(name) for name in names])
    if not isinstance(rows, list):
        raise BadRequestError(f'"data": expected a list of rows, got {describe(rows)}')
    if not rows:
        raise BadRequestError(_NO_ROWS)
    if not isinstance(rows[0], list | dict):
        rows = [rows]
    ordered: list[list[Any]] = []
    for batch in batches(len(rows), schema.features):
        for row in rows[batch]:
            if not isinstance(row, list):
                where = f"row {len(ordered) + 1}"
                raise BadRequestError(f"{where}: expected a list of values, got {describe(row)}")
            if order is not None and len(row) == len(order):
                row = [row[column] for column in order]
            ordered.append(row)
    return decode_all(ordered, schema)


def _no_shape(document: dict[str, Any], schema: Schema) -> BadRequestError:
    """The error for an object that has neither the model's names nor a known shape."""
    if not set(feature_names(schema)).isdisjoint(document):
        schema.order(list(document))
    what = "nor the model's feature names" if schema.names else "and the model has no feature names"
    return BadRequestError(f'the object has no "instances" or "features", {what}; send {_SHAPES}')
