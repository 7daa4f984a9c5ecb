"""Files of Parquet and Arrow: each as a table, and all as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mme_training.data.content_type import ContentType, Format, check_head
from mme_training.data.files import HEAD_BYTES, DataFile
from mme_training.data.lines import show
from mme_training.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

_INDEX_PREFIX = "__index_level_"  # what pandas names an index among the columns
_MOST_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Part:
    """The table of one file."""

    file: str
    table: pa.Table
    """Of numbers, and dictionaries of numbers or texts."""
    texts: frozenset[str]
    """The columns that were texts, not dictionaries of such."""


def read_part(file: DataFile, content_type: ContentType) -> Part:
    """Read a file.

    Raises:
        UserError: it cannot be read, or has a column of a type that is no number and no text.
    """
    import pyarrow as pa

    with file.open() as stream:
        check_head(stream.peek(HEAD_BYTES), content_type, file.name)
    parts = []
    texts: set[str] = set()
    try:
        for table in _tables(str(file.path), content_type.format):
            table.validate(full=True)
            parts.append(_uniform_table(table, file.name))
            texts.update(field.name for field in table.schema if _is_text(field.type))
        return Part(file.name, pa.concat_tables(parts), frozenset(texts))
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0][:_MOST_CHARACTERS]
        raise UserError(
            f"{file.name} cannot be read as {content_type.format.value}: {reason}"
        ) from None


def together(parts: Sequence[Part]) -> pa.Table:
    """The tables one below the other.

    Raises:
        UserError: a file has other columns than the first, or one of a different type.
    """
    import pyarrow as pa

    for part in parts[1:]:
        _check_same(part, parts[0])
    schemas = [part.table.schema for part in parts]
    mixed = {
        name
        for name in schemas[0].names
        if len({pa.types.is_boolean(schema.field(name).type) for schema in schemas}) > 1
    }
    tables = [_without_booleans(part.table, mixed) for part in parts]
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"{parts[0].file} and the other files have columns of different types: {reason}"
        ) from None


def is_number(type_: pa.DataType) -> bool:
    """Whether a column is numbers, or nothing but nulls."""
    from pyarrow import types

    return bool(
        types.is_floating(type_)
        or types.is_integer(type_)
        or types.is_boolean(type_)
        or types.is_decimal(type_)
        or types.is_null(type_)
    )


def _tables(path: str, format_: Format) -> Iterator[pa.Table]:
    """The table in parts, so that floats are not held in eight bytes all at once.

    The first has no rows: it is there for a file without any.
    """
    import pyarrow as pa
    from pyarrow import parquet

    if format_ is Format.PARQUET:
        with parquet.ParquetFile(path) as file:
            yield file.schema_arrow.empty_table()
            for group in range(file.num_row_groups):
                yield file.read_row_group(group)
        return
    with pa.OSFile(path) as source:
        if format_ is Format.ARROW_FILE:
            with pa.ipc.open_file(source) as reader:
                yield reader.schema.empty_table()
                for number in range(reader.num_record_batches):
                    yield pa.Table.from_batches([reader.get_batch(number)])
        else:
            with pa.ipc.open_stream(source) as reader:
                yield reader.schema.empty_table()
                for batch in reader:
                    yield pa.Table.from_batches([batch])


def _uniform_table(table: pa.Table, file: str) -> pa.Table:
    """The table without the columns in which pandas keeps an index, in uniform types."""
    import pyarrow as pa

    for name, count in Counter(table.column_names).items():
        if count > 1:
            raise UserError(f"{file}: {count} columns are called {show(name)}")
    index = (table.schema.pandas_metadata or {}).get("index_columns", [])
    kept = [
        name
        for name in table.column_names
        if not name.startswith(_INDEX_PREFIX) and name not in index
    ]
    return pa.table({name: _uniform(table.column(name), name, file) for name in kept})


def _uniform(column: pa.ChunkedArray, name: str, file: str) -> pa.ChunkedArray:
    """The column with a type that goes together with those of other files."""
    import pyarrow as pa
    from pyarrow import types

    type_ = column.type
    if types.is_decimal(type_):
        return column.cast(pa.float64())
    if is_number(type_):
        # XGBoost does the same, only later; what is too large becomes infinite, and is found so.
        return column.cast(pa.float32(), safe=False) if types.is_floating(type_) else column
    if _is_text(type_):
        column = column.cast(pa.large_string()).dictionary_encode()
        return column.cast(pa.dictionary(pa.int32(), pa.large_string()))
    if types.is_dictionary(type_):
        values = type_.value_type
        if _is_text(values):
            return column.cast(pa.dictionary(pa.int32(), pa.large_string()))
        if types.is_boolean(values) or types.is_decimal(values) or types.is_null(values):
            return _uniform(column.cast(values), name, file)
        if is_number(values):
            wide = pa.int64() if types.is_integer(values) else pa.float64()
            return column.cast(pa.dictionary(pa.int32(), wide))
    raise UserError(
        f"{file}: column {show(name)} is of the type {str(type_)[:_MOST_CHARACTERS]}; a column "
        "must be numbers, booleans, or texts as categories: convert it or leave it out"
    )


def _is_text(type_: pa.DataType) -> bool:
    from pyarrow import types

    return bool(
        types.is_string(type_) or types.is_large_string(type_) or types.is_string_view(type_)
    )


def _check_same(part: Part, first: Part) -> None:
    names, expected = part.table.column_names, first.table.column_names
    if len(names) != len(expected):
        raise UserError(
            f"{part.file}: {columns(len(names))} where {first.file} has {len(expected)}"
        )
    for number, (name, other) in enumerate(zip(names, expected, strict=True), 1):
        if name != other:
            raise UserError(
                f"{part.file}: column {number} is {show(name)}, in {first.file} it is {show(other)}"
            )
        here, there = (table.schema.field(name).type for table in (part.table, first.table))
        if kind(here) != kind(there) and "null" not in (str(here), str(there)):
            raise UserError(
                f"{part.file}: column {show(name)} holds {kind(here)}, in {first.file} it holds "
                f"{kind(there)}"
            )


def kind(type_: pa.DataType) -> str:
    """What a column of a part's table holds, in words."""
    if is_number(type_):
        return "numbers"
    return "categories that are numbers" if is_number(type_.value_type) else "texts"


def columns(count: int) -> str:
    """The count with its noun."""
    return f"{count} column" if count == 1 else f"{count} columns"


def _without_booleans(table: pa.Table, names: set[str]) -> pa.Table:
    import pyarrow as pa

    for name in names:
        field = table.schema.field(name)
        if pa.types.is_boolean(field.type):
            place = table.schema.get_field_index(name)
            table = table.set_column(place, name, table.column(name).cast(pa.int8()))
    return table
