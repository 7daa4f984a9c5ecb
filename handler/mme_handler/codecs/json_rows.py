"""Rows parsed from JSON to matrices: lists, {"features": [..]} and records by feature name."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import orjson

from mme_handler.codecs.chunks import batches
from mme_handler.codecs.matrix import (
    FLOAT32_OVERFLOW,
    NAN,
    Matrix,
    not_a_number,
    quote,
    stack,
    to_float32,
    too_large,
    wrong_count,
)
from mme_handler.codecs.schema import Schema
from mme_handler.errors import BadRequestError

_CELLS = frozenset({int, float, type(None)})  # not bool, which numpy would take for a number
_CODED = _CELLS | {str}
_MISSING = frozenset({"nan", "na", "null"})


def decode_rows(rows: list[Any], first: int, schema: Schema) -> Matrix:
    """The matrix of a few rows, each as JSON has it.

    A row is a list of values, {"features": [value, ..]}, or a record by feature name, its keys in
    any order. null and "NaN", "NA", "null" are NaN; in a categorical column a text is a category,
    and so is a number unless it is a code (`schema.Categories`).

    Args:
        rows: at least one row, each still to be checked.
        first: the number of the first row, counted from 1, for messages.
        schema: the columns of the model.

    Returns:
        A C-contiguous float32 array (rows, features).

    Raises:
        BadRequestError: names the row, and the column if it is about one.
    """
    kinds = set(map(type, rows))
    if dict in kinds:
        rows = _unwrap(rows, first, schema)
        kinds = set(map(type, rows))
    if kinds == {list} and set(map(len, rows)) == {schema.features}:
        plain = _coded(rows, schema) if schema.held else rows
        matrix = None if plain is None else _plain(plain)
        if matrix is not None:
            return matrix
    values = [_row(row, f"row {number}", schema) for number, row in enumerate(rows, first)]
    return np.array(values, dtype=np.float32)


def decode_all(rows: list[Any], schema: Schema) -> Matrix:
    """The matrix of all rows, at least one, as `decode_rows` reads them."""
    slices = batches(len(rows), schema.features)
    return stack([decode_rows(rows[b], b.start + 1, schema) for b in slices])


def decode_columns(columns: list[list[Any]], schema: Schema) -> Matrix:
    """The matrix of columns in the model's order, all of the same length and not empty."""
    parts = []
    for batch in batches(len(columns[0]), schema.features):
        rows = list(map(list, zip(*(column[batch] for column in columns), strict=True)))
        parts.append(decode_rows(rows, batch.start + 1, schema))
    return stack(parts)


def feature_names(schema: Schema) -> tuple[str, ...]:
    """The model's names, or those that XGBoost gives to features without."""
    return schema.names or tuple(f"f{column}" for column in range(schema.features))


def describe(value: Any) -> str:
    """A value for a message: quoted if it is a text, not shown if it holds others."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, list):
        return "a list"
    return "an object" if isinstance(value, dict) else orjson.dumps(value).decode()


def _unwrap(rows: list[Any], first: int, schema: Schema) -> list[Any]:
    """The rows with each object replaced by its values in the model's order."""
    names: tuple[str, ...] = ()
    lists = []
    for number, row in enumerate(rows, first):
        if isinstance(row, dict):
            values = row.get("features")
            if not isinstance(values, list):  # as no feature's value is
                names = names or feature_names(schema)
                values = _record(row, number, names, schema)
            lists.append(values)
        else:
            lists.append(row)
    return lists


def _record(row: dict[str, Any], number: int, names: tuple[str, ...], schema: Schema) -> Any:
    if len(row) == len(names):
        try:
            return [row[name] for name in names]
        except KeyError:
            pass
    if "features" in row and "features" not in names:
        return row["features"]
    if schema.names is None:
        raise BadRequestError(
            f'row {number}: the object has no "features", and the model has no feature names: '
            "send lists"
        )
    try:
        schema.order(list(row))
    except BadRequestError as error:
        raise BadRequestError(f"row {number}: {error}") from None
    raise AssertionError("a record of the model's names has been read above")


def _plain(rows: list[list[Any]]) -> Matrix | None:
    """The matrix of rows of the same length if they hold numbers and null alone; else None."""
    if not _CELLS.issuperset(map(type, chain.from_iterable(rows))):
        return None
    if len(rows) > 1:
        return to_float32(rows)
    row = to_float32(rows[0])
    return None if row is None else row.reshape(1, -1)


def _coded(rows: list[list[Any]], schema: Schema) -> list[list[Any]] | None:
    """The rows with codes in place of categories; None if one takes a closer look."""
    coded = [row.copy() for row in rows]
    for column, categories in schema.held.items():
        for row in coded:
            value = row[column]
            code = categories.of(value) if type(value) in _CODED else None
            if code is None:
                return None
            row[column] = code
    return coded


def _row(row: Any, where: str, schema: Schema) -> list[float]:
    if not isinstance(row, list):
        raise BadRequestError(f"{where}: expected a list of numbers, got {describe(row)}")
    if len(row) != schema.features:
        raise wrong_count(where, len(row), schema.features)
    return [_number(value, where, column, schema) for column, value in enumerate(row)]


def _number(value: Any, where: str, column: int, schema: Schema) -> float:
    """The cell's value, NaN if it is missing."""
    if value is None:
        return NAN
    if isinstance(value, str):
        return _text(value, where, column, schema)
    if type(value) not in _CELLS:
        raise not_a_number(f"{where}, {schema.label(column)}", describe(value))
    if column in schema.held:
        return _code(value, where, column, schema)
    if abs(value) >= FLOAT32_OVERFLOW:
        raise too_large(f"{where}, {schema.label(column)}", repr(value))
    return float(value)


def _text(text: str, where: str, column: int, schema: Schema) -> float:
    missing = text.lower() in _MISSING
    if missing and text not in schema.categories.get(column, ()):
        return NAN
    return _code(text, where, column, schema)


def _code(value: str | float, where: str, column: int, schema: Schema) -> float:
    try:
        code = schema.code(column, value)
    except BadRequestError as error:
        raise BadRequestError(f"{where}, {error}") from None
    if code is None:
        raise not_a_number(f"{where}, {schema.label(column)}", describe(value))
    return code
