"""Tables on disk: which files are one, what columns they have, and what those may be used for."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.dataset as pads

from mme_training.errors import UserError

_FORMATS: Final = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "ipc",
    ".feather": "ipc",
    ".ipc": "ipc",
    ".csv": "csv",
}
_BATCH_ROWS: Final = 1 << 16
_CSV_BLOCK: Final = 4 << 20  # bytes, of which the types of the columns are inferred
_PROBE_ROWS: Final = 1_000
_INDEX: Final = re.compile(r"__index_level_\d+__$")  # pandas' numbers of rows, in Parquet
_REFUSED: Final = "[]<"  # by XGBoost, in the name of a feature


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose columns are known to be there and to be of use."""

    by: str
    label: str
    features: tuple[str, ...]
    dataset: Any
    schema: pa.Schema
    """The types that `batches` have: key, label, features."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows in their order, with the key as text, some at a time.

        Raises:
            UserError: a value is not what its column holds, or a key is a time of day.
        """
        scanner = self.dataset.scanner(
            columns=self.schema.names,
            batch_size=_BATCH_ROWS,
            batch_readahead=2,
            fragment_readahead=1,
        )
        try:
            for batch in scanner.to_batches():
                if batch.num_rows:
                    yield self._stored(batch)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
            raise UserError(f"the table cannot be read: {error}") from None

    def _stored(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = [
            _cast(column, field) for column, field in zip(batch.columns, self.schema, strict=True)
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


def open_table(path: Path, by: str, label: str, features: Sequence[str] | None = None) -> Table:
    """Find the files of a table and check its columns.

    Args:
        path: a Parquet, Arrow (Feather) or CSV file, or a directory of files of one of these, also
            in folders named ``column=value``. CSV has a header, and its numbers are float64.
        by: the column to split by: text, whole numbers, dates or bools.
        label: the column to predict: numbers.
        features: the columns to learn from; default: all others but the index of a pandas
            frame. Text is taken for categories.

    Raises:
        UserError: there is no such table or column, or a column cannot be used.
    """
    dataset = _open(path, by)
    names = dataset.schema.names
    if features is None:
        features = [name for name in names if name not in (by, label) and not _INDEX.match(name)]
    _check_names(path, names, by, label, features)
    _check_files(dataset, [by, label, *features])
    schema = pa.schema(
        [
            pa.field(by, _key_type(dataset.schema.field(by))),
            pa.field(label, _label_type(dataset, label)),
            *(pa.field(name, _feature_type(dataset.schema.field(name))) for name in features),
        ]
    )
    return Table(by, label, tuple(features), dataset, schema)


def numbers(column: Iterable[str | None]) -> Iterator[tuple[int, str]]:
    """Where a text is no number, and that text; null is none, but is not counted here."""
    for row, text in enumerate(column):
        try:
            float(text or "nan")
        except ValueError:
            yield row, str(text)


def _open(path: Path, by: str) -> Any:
    files = _files(path)
    kinds = {_FORMATS.get(file.suffix.lower(), "") for file in files}
    if len(kinds) > 1 or "" in kinds:
        raise UserError(
            f"{path}: a table is one Parquet, Arrow or CSV file ({', '.join(_FORMATS)}), or a "
            "directory of files of one of these"
        )
    kind = kinds.pop()

    def opened(schema: pa.Schema | None = None) -> Any:
        return pads.dataset(
            [str(file) for file in files],
            schema,
            _csv() if kind == "csv" else kind,
            partitioning="hive",
            partition_base_dir=str(path),
        )

    try:
        dataset = opened()
        return opened(_widened(dataset.schema, by)) if kind == "csv" else dataset
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path} cannot be read as {kind}: {error}") from None


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{path}: there is no such file or directory")
    files = [
        file
        for file in sorted(path.rglob("*"))
        if file.is_file()
        and not any(part.startswith((".", "_")) for part in file.relative_to(path).parts)
    ]
    if not files:
        raise UserError(f"{path} holds no files")
    return files


def _csv() -> Any:
    return pads.CsvFileFormat(
        read_options=pacsv.ReadOptions(block_size=_CSV_BLOCK),
        convert_options=pacsv.ConvertOptions(strings_can_be_null=True),
    )


def _widened(schema: pa.Schema, by: str) -> pa.Schema:
    """Types that later rows fit too, where only the first have been seen."""
    fields = []
    for field in schema:
        if field.name == by:  # "00501" is not 501
            field = field.with_type(pa.large_string())
        elif pa.types.is_integer(field.type) or pa.types.is_null(field.type):
            field = field.with_type(pa.float64())
        fields.append(field)
    return pa.schema(fields)


def _check_names(
    path: Path, names: Sequence[str], by: str, label: str, features: Sequence[str]
) -> None:
    for role, name in (("key", by), ("label", label), *(("feature", name) for name in features)):
        if name not in names:
            near = difflib.get_close_matches(name, names, 1, 0.0)
            raise UserError(
                f"{path} has no column {name!r} for the {role}"
                + (f"; did you mean {near[0]!r}?" if near else "")
            )
        if names.count(name) > 1:
            raise UserError(f"{path} has {names.count(name)} columns {name!r}")
    if by == label or by in features or label in features or len({*features}) < len(features):
        raise UserError("a column has one use: as the key, as the label, or once as a feature")
    if not features:
        raise UserError(f"{path} has no column to learn from besides {by!r} and {label!r}")


def _check_files(dataset: Any, columns: Sequence[str]) -> None:
    """Arrow fills a column that one of the files lacks with nulls, without a word."""
    fragments = list(dataset.get_fragments())
    folders = {*dataset.schema.names} - {*fragments[0].physical_schema.names}
    for fragment in fragments:
        for column in {*columns} - folders - {*fragment.physical_schema.names}:
            raise UserError(f"{fragment.path} has no column {column!r}, as other files have")


def _is_text(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(type_)
        or pa.types.is_large_string(type_)
        or pa.types.is_string_view(type_)
    )


def _is_number(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_boolean(type_)
    )


def _key_type(field: pa.Field) -> pa.DataType:
    kind = _plain(field.type)
    if not (
        _is_text(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_date(kind)
        or pa.types.is_timestamp(kind)
    ):
        raise UserError(
            f"column {field.name!r} is {field.type}, and cannot be split by: a key is text, a "
            "whole number, a date or a bool"
        )
    return pa.large_string()


def _label_type(dataset: Any, label: str) -> pa.DataType:
    kind = _plain(dataset.schema.field(label).type)
    if pa.types.is_decimal(kind):
        return pa.float64()
    if _is_number(kind):
        return kind
    if _is_text(kind):
        # A text among numbers costs its own segment; a column of texts is the wrong column.
        texts = dataset.head(_PROBE_ROWS, columns=[label]).column(0).drop_null().to_pylist()
        if len(texts) > sum(1 for _ in numbers(texts)):
            return pa.large_string()
    raise UserError(f"column {label!r} is {kind}, and cannot be the label: a label is a number")


def _feature_type(field: pa.Field) -> pa.DataType:
    kind = field.type
    if not {*_REFUSED}.isdisjoint(field.name):
        raise UserError(
            f"column {field.name!r} cannot be a feature: XGBoost takes no [, ] or < in its name; "
            "rename it, or name the features to use without it"
        )
    if _is_number(kind):
        return kind
    if pa.types.is_decimal(kind) or pa.types.is_null(kind):
        return pa.float64()
    if _is_text(kind) or pa.types.is_dictionary(kind):
        return pa.large_string()
    raise UserError(
        f"column {field.name!r} is {field.type}, and cannot be a feature: a feature is a number, "
        "a bool, or text for a category; name the features to use without it"
    )


def _plain(type_: pa.DataType) -> pa.DataType:
    """What a dictionary's values are."""
    return type_.value_type if pa.types.is_dictionary(type_) else type_


def _cast(column: pa.Array, field: pa.Field) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_timestamp(column.type):  # pandas has no other dates
        days = column.cast(pa.date32())
        if not days.cast(column.type).equals(column):
            raise UserError(f"column {field.name!r} has times of day, and cannot be split by")
        column = days
    return column.cast(field.type)
