"""What a Parquet file says about its columns and pages, before pyarrow believes it.

The sizes in the footer need not be true, and a page of 30 kB may unpack to 2 GB, so the pages' own
headers are added up. And pyarrow ends the process when it is asked about a column chunk that the
footer describes badly, so it is not asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from mme_handler.codecs.tables import MAX_UNPACKED, too_much
from mme_handler.codecs.thrift import I32, I64, LIST, STRUCT, Fields, Thrift
from mme_handler.errors import BadRequestError

# The fields that are read, of the structs in parquet.thrift.
_FILE_ROWS, _FILE_GROUPS = (3, I64), (4, LIST)
_GROUP_CHUNKS, _GROUP_ROWS = (1, LIST), (3, I64)
_CHUNK_METADATA: Final = (3, STRUCT)
_TYPE, _VALUES, _LENGTH = (1, I32), (5, I64), (7, I64)
_DATA_PAGES, _DICTIONARY_PAGE = (9, I64), (11, I64)
_UNCOMPRESSED, _COMPRESSED = (2, I32), (3, I32)
_DATA_PAGE, _ENCODING = (5, STRUCT), (2, I32)
_DATA_PAGE_V2, _ENCODING_V2 = (8, STRUCT), (4, I32)

_BYTE_ARRAY: Final = 6
_DELTA_BYTE_ARRAY: Final = 7
_MAGIC: Final = b"PAR1"
_END_BYTES: Final = 8


class Chunk(NamedTuple):
    """The values of one column in one row group."""

    rows: int
    values: int
    start: int
    length: int
    texts: bool


class Footer:
    """What the footer of the file `view` says.

    Raises:
        BadRequestError: it says far too much, or the row groups have not the rows of the file.
        ValueError, LookupError: it is not valid.
    """

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._thrift = Thrift(view)
        end = len(view) - _END_BYTES
        if end < 0 or bytes(view[-4:]) != _MAGIC:
            raise ValueError("it does not end as one, or is encrypted")
        start = end - int.from_bytes(view[end : end + 4], "little")
        if start < 0:
            raise ValueError("its footer is longer than the file")
        self._fields, _ = self._thrift.struct(start)
        self.rows: int = self._fields[_FILE_ROWS]
        """How many rows the file has."""
        self._groups: list[Fields] = self._fields[_FILE_GROUPS]
        group_rows = [group[_GROUP_ROWS] for group in self._groups]
        if min(group_rows, default=0) < 0 or sum(group_rows) != self.rows:
            raise BadRequestError("the Parquet file's row groups do not have the rows it says")

    def check(self, columns: int, width: int) -> None:
        """Refuse columns that pyarrow should not read.

        Args:
            columns: how many there are in each row group.
            width: how many values of a column a row has at most.

        Raises:
            RequestTooLargeError: their pages unpack to too much.
            BadRequestError: they have too many values or pages, or an encoding that may unpack to
                anything.
            ValueError, LookupError: they are not valid.
        """
        size = 0
        for chunk in self._chunks(columns):
            if not 0 <= chunk.values <= chunk.rows * width:
                raise BadRequestError(
                    f"the Parquet file has a column of {chunk.values:,} values in {chunk.rows:,} "
                    f"rows, the model takes {width} in a row"
                )
            for page in self._pages(chunk):
                size += page[_UNCOMPRESSED]
                if size > MAX_UNPACKED:
                    raise too_much(size)
                if chunk.texts and _DELTA_BYTE_ARRAY in _encodings(page):
                    raise BadRequestError(
                        "texts in the encoding DELTA_BYTE_ARRAY are not accepted; send a dictionary"
                    )

    def _chunks(self, columns: int) -> Iterator[Chunk]:
        for group in self._groups:
            chunks = group[_GROUP_CHUNKS]
            if len(chunks) != columns:
                raise ValueError("a row group has not the columns of the file")
            for chunk in chunks:
                fields = chunk[_CHUNK_METADATA]
                start = fields[_DATA_PAGES]
                if 0 < fields.get(_DICTIONARY_PAGE, 0) < start:
                    start = fields[_DICTIONARY_PAGE]
                texts = fields[_TYPE] == _BYTE_ARRAY
                yield Chunk(group[_GROUP_ROWS], fields[_VALUES], start, fields[_LENGTH], texts)

    def _pages(self, chunk: Chunk) -> Iterator[Fields]:
        """The headers of the chunk's pages."""
        position, stop = chunk.start, chunk.start + chunk.length
        if position < 0 or chunk.length < 0 or stop > len(self._view):
            raise ValueError("a column is outside the file")
        while position < stop:
            page, position = self._thrift.struct(position)
            if page[_UNCOMPRESSED] < 0 or page[_COMPRESSED] < 0:
                raise ValueError("a page has a negative size")
            yield page
            position += page[_COMPRESSED]


def _encodings(page: Fields) -> tuple[int | None, int | None]:
    """The encodings of a page of data, of either version."""
    first, second = page.get(_DATA_PAGE, {}), page.get(_DATA_PAGE_V2, {})
    return first.get(_ENCODING), second.get(_ENCODING_V2)
