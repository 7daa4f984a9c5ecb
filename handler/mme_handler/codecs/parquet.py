"""application/x-parquet: a table as a Parquet file, in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mme_handler.codecs.arrays import no_rows
from mme_handler.codecs.matrix import Matrix, quote
from mme_handler.codecs.output import Outputs
from mme_handler.codecs.parquet_pages import Footer
from mme_handler.codecs.registry import Body, Codec, register
from mme_handler.codecs.schema import Schema
from mme_handler.codecs.tables import Reader, reading, to_table
from mme_handler.errors import BadRequestError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_STRING_LIMIT: Final = 16 << 20
_CONTAINER_LIMIT: Final = 1_000_000
_MOST_DECIMAL_BYTES: Final = 32
_BATCH_CELLS: Final = 1 << 20


def decode(body: Body, schema: Schema) -> Matrix:
    """Read a non-empty body; columns are matched by name.

    Returns:
        A C-contiguous float32 array (rows, features); a null is NaN.

    Raises:
        BadRequestError: the body is no Parquet file, or does not fit the model.
        RequestTooLargeError: it would take too much memory.
    """
    import pyarrow as pa

    with reading("Parquet file"):
        source = pa.py_buffer(body)
        footer = Footer(memoryview(source).cast("B"))
        schema.check_size(footer.rows)
        if not footer.rows:
            raise no_rows()
        file = _open(source)
        reader = Reader(file.schema_arrow, schema)
        texts = [leaf.path for leaf in _leaves(file) if leaf.physical_type == "BYTE_ARRAY"]
        if texts:  # a dictionary's text may be used by every row, so it must not be spelled out
            file = _open(source, metadata=file.metadata, read_dictionary=texts)
        _check_leaves(file)
        footer.check(len(file.schema), schema.features if reader.is_list else 1)
        size = max(1, _BATCH_CELLS // schema.features)
        return reader.matrix(file.iter_batches(size, use_threads=False))


def encode(outputs: Outputs) -> bytes:
    """One row group with a column for each output."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(to_table(outputs), sink, use_dictionary=False)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _open(source: pa.Buffer, **options: Any) -> pq.ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.ParquetFile(
        pa.BufferReader(source),
        pre_buffer=False,
        thrift_string_size_limit=_STRING_LIMIT,
        thrift_container_size_limit=_CONTAINER_LIMIT,
        **options,
    )


def _leaves(file: pq.ParquetFile) -> list[pq.ColumnSchema]:
    return [file.schema.column(i) for i in range(len(file.schema))]


def _check_leaves(file: pq.ParquetFile) -> None:
    """Refuse numbers in byte arrays of any length, which a dictionary could repeat for each row."""
    for position, leaf in enumerate(_leaves(file)):
        text = leaf.physical_type == "BYTE_ARRAY"
        wide = leaf.physical_type == "FIXED_LEN_BYTE_ARRAY" and leaf.length > _MOST_DECIMAL_BYTES
        nested = len(file.schema) != len(file.schema_arrow)
        if wide or (text and (nested or not _is_dictionary(file.schema_arrow.types[position]))):
            raise BadRequestError(
                f"{quote(leaf.path)}: values of {leaf.physical_type} are not accepted; send numbers"
            )


def _is_dictionary(kind: pa.DataType) -> bool:
    from pyarrow import types

    return bool(types.is_dictionary(kind))


register(
    Codec(
        "application/x-parquet",
        decode,
        encode,
        aliases=("application/vnd.apache.parquet", "parquet"),
        expands=True,
    )
)
