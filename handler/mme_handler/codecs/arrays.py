"""Numeric arrays of any type to float32, for the codecs whose bodies hold arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mme_handler.codecs.chunks import batches
from mme_handler.codecs.matrix import Matrix, too_large
from mme_handler.codecs.schema import Schema
from mme_handler.errors import BadRequestError


def copy(
    target: Matrix, source: NDArray[Any], schema: Schema, row: int = 0, column: int = 0
) -> None:
    """Convert `source` into `target`; NaN is kept, and float32 keeps every bit.

    In a column of which the model holds the categories, a number becomes the code it stands for.

    Args:
        target: float32 (rows, columns), written in place.
        source: bool, int or float of the same shape.
        schema: names the columns in an error.
        row: the number of the first row in the request, counted from 0.
        column: the feature of the first column.

    Raises:
        BadRequestError: names the row, counted from 1, and the column of an infinity, or of a
            number that overflows float32, or of what stands for no category.
    """
    width = source.shape[1]
    # As in the texts, where every number passes through float64: one rounding or two may differ.
    through_float64 = source.dtype.kind in "iu" and source.dtype.itemsize == 8
    held = [(c - column, h) for c, h in schema.held.items() if 0 <= c - column < width]
    for batch in batches(len(source), width):
        part = source[batch].astype(np.float64) if through_float64 else source[batch]
        with np.errstate(over="ignore", invalid="ignore"):
            target[batch] = part
        for c, categories in held:
            target[batch, c] = categories.of_array(source[batch, c])
        infinite = np.isinf(target[batch])
        if infinite.any():
            at_row, at_column = divmod(int(infinite.argmax()), width)
            where = f"row {row + batch.start + at_row + 1}"
            raise _error(source[batch][at_row, at_column], where, column + at_column, schema)


def _error(value: np.generic, where: str, column: int, schema: Schema) -> BadRequestError:
    if column in schema.held:
        return BadRequestError(f"{where}, {schema.unknown(column, value.item())}")
    return too_large(f"{where}, {schema.label(column)}", repr(float(value)))


def copy_column(
    target: Matrix, column: int, source: NDArray[Any], schema: Schema, row: int = 0
) -> None:
    """Convert `source` (rows,) into the feature `column` of `target`, as `copy` does."""
    copy(target[:, column : column + 1], source[:, None], schema, row, column)


def recode(matrix: Matrix, schema: Schema) -> None:
    """Put codes in place of the numbers that stand for categories.

    Raises:
        BadRequestError: names the row, counted from 1, and the column of a number that stands for
            none.
    """
    for column in schema.held:
        copy_column(matrix, column, matrix[:, column].copy(), schema)


def no_rows() -> BadRequestError:
    """The error for a body without a row."""
    return BadRequestError("the body has no rows; send at least one")
