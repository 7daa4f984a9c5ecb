"""Parquet and Arrow: tables of which the first column is the label, the rest features by name.

The features become what ``pandas.read_parquet`` makes of them, in half the memory: floats are
float32, and whole numbers stay whole, so that XGBoost sees the same values and the same types, and
the model has the same bytes. Texts become categories, which pandas leaves to the caller; those of a
dictionary keep its order, others are sorted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mme_training.data.content_type import ContentType
from mme_training.data.dataset import Dataset, Floats
from mme_training.data.files import DataFile
from mme_training.data.lines import show
from mme_training.data.table_files import Part, columns, is_number, kind, read_part, together
from mme_training.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

_FORBIDDEN = frozenset("[]<")  # in a feature's name, says XGBoost
_INT32 = np.iinfo(np.int32)


def read(
    files: Sequence[DataFile], content_type: ContentType, weighted: bool = False
) -> Dataset | None:
    """Read all rows of the files; None if there is none.

    Args:
        files: all with the same columns in the same order; numbers may be of different types.
        content_type: the format, and how many labels there are.
        weighted: whether a weight follows the labels.

    Raises:
        UserError: names the file and the column, and the row if it is about one.
    """
    parts = [read_part(file, content_type) for file in files]
    if not parts:
        return None
    _check_columns(parts[0], content_type.label_size, weighted)
    table = together(parts)
    if not len(table):
        return None
    sources = _Sources(parts)
    texts = frozenset[str]().union(*(part.texts for part in parts))
    del parts
    rest = _popped(table)
    del table
    labels = [_required(*next(rest), "label", sources) for _ in range(content_type.label_size)]
    weight = _weight(*next(rest), sources) if weighted else None
    features = {name: _feature(name, column, texts, sources) for name, column in rest}
    label = labels[0] if len(labels) == 1 else np.stack(labels, axis=1)
    return Dataset(pd.DataFrame(features), label, weight)


class _Sources:
    """Which file a row of all tables comes from."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._names = [part.file for part in parts]
        self._ends = np.cumsum([len(part.table) for part in parts])

    def place(self, wrong: NDArray[np.bool_], column: str) -> str:
        """The file, the row in it counted from 1, and the column of the first that is wrong."""
        row = int(wrong.argmax())
        part = int(np.searchsorted(self._ends, row, side="right"))
        start = int(self._ends[part - 1]) if part else 0
        return f"{self._names[part]}, row {row - start + 1}, column {show(column)}"


def _check_columns(part: Part, labels: int, weighted: bool) -> None:
    """Refuse a table whose labels and weights are no numbers, or whose features have no name."""
    before = labels + weighted
    names = part.table.column_names
    if len(names) <= before:
        weight = ", a weight" if weighted else ""
        raise UserError(
            f"{part.file}: {columns(len(names))}; a table is "
            f"{'a label' if labels == 1 else f'{labels} labels'}{weight} and features"
        )
    for number, field in enumerate(list(part.table.schema)[:before]):
        if not is_number(field.type):
            raise UserError(
                f"{part.file}: column {show(field.name)} stands where the "
                f"{'label' if number < labels else 'weight'} is read, and holds "
                f"{kind(field.type)}; it must hold numbers"
            )
    for name in names[before:]:
        if not name or _FORBIDDEN & set(name):
            raise UserError(
                f"{part.file}: a feature cannot be called {show(name)}: XGBoost takes no empty "
                "name, and none with [, ] or <"
            )


def _popped(table: pa.Table) -> Iterator[tuple[str, pa.ChunkedArray]]:
    """The columns in order; a column is let go once the next is taken."""
    while table.num_columns:
        name, column = table.column_names[0], table.column(0)
        table = table.remove_column(0)
        yield name, column
        del column


def _required(name: str, column: pa.ChunkedArray, kind: str, sources: _Sources) -> Floats:
    """Labels or weights: finite numbers."""
    if column.null_count == len(column):
        raise UserError(
            f"the {kind} (column {show(name)}) is missing in every row of the channel; the label "
            "is the first column"
        )
    values = _floats(column)
    if np.isnan(values).any():
        raise UserError(f"{sources.place(np.isnan(values), name)}: the {kind} is missing")
    if np.isinf(values).any():
        where = sources.place(np.isinf(values), name)
        raise UserError(f"{where}: the {kind} is infinite or too large for a float32")
    return values


def _weight(name: str, column: pa.ChunkedArray, sources: _Sources) -> Floats:
    values = _required(name, column, "weight", sources)
    if (values < 0).any():
        raise UserError(f"{sources.place(values < 0, name)}: the weight is negative")
    return values


def _feature(
    name: str, column: pa.ChunkedArray, texts: frozenset[str], sources: _Sources
) -> NDArray[Any] | pd.Categorical:
    """The column as pandas has it, but for narrower numbers."""
    from pyarrow import types

    if types.is_dictionary(column.type):
        return _categories(column, name in texts)
    if not column.null_count and types.is_integer(column.type):
        return _narrow(column.to_numpy())
    if not column.null_count and types.is_boolean(column.type):
        values: NDArray[Any] = column.to_numpy()
        return values
    floats = _floats(column)
    if np.isinf(floats).any():
        where = sources.place(np.isinf(floats), name)
        raise UserError(f"{where}: a value is infinite or too large for a float32")
    return floats


def _floats(column: pa.ChunkedArray) -> Floats:
    """The numbers, NaN for null, by way of float64."""
    import pyarrow as pa

    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if pa.types.is_null(column.type):
        column = column.cast(pa.float32())
    with np.errstate(over="ignore"):
        values: Floats = column.to_numpy().astype(np.float32)
    return values


def _narrow(values: NDArray[Any]) -> NDArray[Any]:
    """The whole numbers in four bytes where they fit."""
    fits = values.itemsize == 8 and _INT32.min <= values.min() and values.max() <= _INT32.max
    return values.astype(np.int32) if fits else values


def _categories(column: pa.ChunkedArray, sort: bool) -> pd.Categorical:
    """The categories of all files in one dictionary; one that is only in the dictionary stays."""
    import pyarrow as pa

    array = column.unify_dictionaries().combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # of older versions of pyarrow
        array = array.chunk(0)
    if array.dictionary.null_count:
        array = array.dictionary_decode().dictionary_encode()
    codes = array.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    categories = array.dictionary.to_pandas()
    found = pd.Categorical.from_codes(codes, categories=categories)
    return found.reorder_categories(sorted(categories)) if sort else found
