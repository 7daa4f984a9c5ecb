"""Files of lines, read in blocks that are parsed side by side."""

from __future__ import annotations

import codecs
import io
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from mme_training.data.content_type import ContentType, check_head
from mme_training.data.files import HEAD_BYTES, DataFile, Stream
from mme_training.errors import UserError

BLOCK_BYTES: Final = 2 << 20  # fits into a core's cache with what is made of it
_MOST_SHOWN: Final = 40

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Block:
    """Some lines of a file."""

    file: str
    first: int
    """The number of the first line, counted from 1."""
    content: bytes
    """UTF-8 if the file is right, each line ended by LF, without a byte order mark."""

    def where(self, line: int) -> str:
        """How a message begins that is about line `line` of the file."""
        return f"{self.file}, line {line}"


def spellings(*words: str) -> list[str]:
    """The words in every mixture of capital and small letters."""
    return [
        "".join(letters)
        for word in words
        for letters in product(*zip(word, word.upper(), strict=True))
    ]


def show(text: str) -> str:
    """`text` in quotes on one line, cut to a length that suits a message."""
    return repr(text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "...")


def blocks(file: DataFile, content_type: ContentType) -> Iterator[Block]:
    """The lines of a file; CR LF ends a line too.

    Raises:
        UserError: the file cannot be read, is of another format, or is not in its charset.
    """
    with file.open() as stream:
        number = 1
        head = stream.peek(HEAD_BYTES)[:HEAD_BYTES]
        check_head(head, content_type, file.name)
        for content in _contents(stream, content_type.charset, file.name):
            block = content.removeprefix(codecs.BOM_UTF8) if number == 1 else content
            if not block.endswith(b"\n"):
                block += b"\n"
            if b"\r" in block:
                block = block.replace(b"\r\n", b"\n")
            yield Block(file.name, number, block)
            number += block.count(b"\n")


def decoded(block: Block, blank: bytes = b" \t") -> Iterator[tuple[int, str]]:
    """The lines of a block that have something else on them than `blank`, with their numbers.

    Raises:
        UserError: names the line that is no text in UTF-8.
    """
    for number, raw in enumerate(block.content.split(b"\n"), block.first):
        if not raw.strip(blank):
            continue
        if b"\0" in raw:
            raise UserError(f"{block.where(number)}: there is a NUL byte; the file is damaged")
        if b"\r" in raw:
            raise UserError(
                f"{block.where(number)}: there is a carriage return within the line; end lines "
                "with LF or CR LF"
            )
        try:
            yield number, raw.decode()
        except UnicodeDecodeError as error:
            raise UserError(
                f"{block.where(number)}: byte {error.start + 1} (0x{raw[error.start]:02x}) is not "
                "valid UTF-8"
            ) from None


def in_parallel(jobs: Iterable[Job], work: Callable[[Job], Result]) -> Iterator[Result]:
    """The result of each job, in their order; few jobs more than threads are held at a time."""
    threads = len(os.sched_getaffinity(0))
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for job in jobs:
                waiting.append(pool.submit(work, job))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def parse_column(numbers: bytes, missing: list[str]) -> NDArray[np.float64] | None:
    """The numbers that stand one on each line, NaN for `missing`; None if one is anything else."""
    import pyarrow as pa
    from pyarrow import csv

    try:
        table = csv.read_csv(
            pa.BufferReader(numbers),
            csv.ReadOptions(
                column_names=["number"], use_threads=False, block_size=len(numbers) + 1
            ),
            csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
            csv.ConvertOptions(column_types={"number": pa.float64()}, null_values=missing),
        )
    except pa.ArrowInvalid:
        return None
    column = table.column(0).combine_chunks()
    values: NDArray[np.float64] = column.to_numpy(zero_copy_only=False)
    return values


def _contents(stream: Stream, charset: str, name: str) -> Iterator[bytes]:
    """The content in blocks that end where a line does, in UTF-8 if `charset` is right."""
    if charset == "utf-8":
        while content := stream.read(BLOCK_BYTES):
            yield content if content.endswith(b"\n") else content + stream.readline()
        return
    try:
        text = io.TextIOWrapper(stream, charset, newline="")
        rest = ""
        while part := text.read(BLOCK_BYTES):
            whole, newline, rest = (rest + part).rpartition("\n")
            if newline:
                yield (whole + newline).encode()
        if rest:
            yield rest.encode()
    except UnicodeError as error:
        raise UserError(f"{name} is not in the charset {charset}: {error}") from None
