"""text/csv: a row per line, its label first, without a header.

Blocks of lines go to pyarrow, one thread each, as one long column: a table of as many columns as
the file would take it longer, and far longer if there are thousands. It reads numbers as float64,
correctly rounded, and they are rounded to float32 from there, as XGBoost does with a frame of
pandas. What it refuses, or what is no data to train on, is left to `csv_exact`, which reads that
block again.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence

import numpy as np

from mme_handler.codecs.csv_lines import MISSING
from mme_training.data import csv_exact
from mme_training.data.content_type import ContentType
from mme_training.data.csv_exact import Rows
from mme_training.data.csv_layout import Layout, check_same, layout
from mme_training.data.dataset import Dataset, Floats
from mme_training.data.files import DataFile
from mme_training.data.lines import Block, blocks, in_parallel, parse_column, spellings
from mme_training.errors import UserError

_LOG = logging.getLogger(__name__)
_SPELLINGS = [""] + [text for word in sorted(MISSING - {""}) for text in spellings(word)]
_NULLS = [*_SPELLINGS, *(f" {text}" for text in _SPELLINGS)]
_ALL = bytes(set(range(256)) - {ord("\n")})
_NEWLINE = ord("\n")
_BLANK_LINES = re.compile(rb"\n{2,}")
_QUOTED = re.compile(rb'"([-+.\w]*)"')


def read(
    files: Sequence[DataFile], content_type: ContentType, weighted: bool = False
) -> Dataset | None:
    """Read all rows of the files; None if there is none.

    Args:
        files: all with the same columns, each with a delimiter of its own.
        content_type: tells how many labels there are.
        weighted: whether a weight follows the labels.

    Raises:
        UserError: names the file, the line and the column of what is wrong.
    """
    parts = list(in_parallel(_jobs(files, content_type, weighted), _parse))
    parts = [part for part in parts if len(part.label)]
    if not parts:
        return None
    features = np.concatenate([part.features for part in parts])
    weights = [part.weight for part in parts if part.weight is not None]
    if np.isnan(features[:, -1]).all():
        _LOG.warning(
            "the last column of %s is empty in every line; if each line ends in a delimiter, "
            "remove it",
            files[0].name,
        )
    return Dataset(
        features,
        np.concatenate([part.label for part in parts]),
        np.concatenate(weights) if weights else None,
    )


def _jobs(
    files: Sequence[DataFile], content_type: ContentType, weighted: bool
) -> Iterator[tuple[Block, Layout]]:
    first: tuple[Layout, str] | None = None
    for file in files:
        found = None
        for block in blocks(file, content_type):
            if found is None:
                found = layout(block, content_type.label_size, weighted)
            if found is None:
                continue
            first = first or (found, file.name)
            check_same(found, file.name, *first)
            yield block, found


def _parse(job: tuple[Block, Layout]) -> Rows:
    block, columns = job
    rows = _fast(block, columns)
    return csv_exact.read(block, columns) if rows is None else rows


def _fast(block: Block, columns: Layout) -> Rows | None:
    """The rows if all is well; else None."""
    content = block.content
    if b'"' in content:
        content = _unquoted(content, columns.delimiter.encode())
    if b'"' in content or b"\r" in content:
        return None
    matrix = _matrix(content, columns)
    if matrix is None:
        return None
    label = matrix[:, : columns.labels]
    if len(matrix) > 1 and np.isnan(label).all():
        last = block.first + block.content.count(b"\n") - 1
        raise UserError(
            f"{block.file}: the label (column 1) is missing in every line from {block.first} to "
            f"{last}; the label is the first column of SageMaker's CSV"
        )
    before = matrix[:, : columns.before]
    if not np.isfinite(before).all() or np.isinf(matrix).any():
        return None
    if columns.weighted and (matrix[:, columns.labels] < 0).any():
        return None
    return csv_exact.divided(matrix, columns)


def _matrix(content: bytes, columns: Layout) -> Floats | None:
    """The cells (rows, columns); None if a line has more or fewer, or a cell is no number."""
    if b"\n\n" in content or content.startswith(b"\n"):
        content = _BLANK_LINES.sub(b"\n", content).removeprefix(b"\n")
    delimiter = columns.delimiter.encode()
    marks = np.frombuffer(content.translate(None, _ALL.replace(delimiter, b"")), np.uint8)
    rows, rest = divmod(len(marks), columns.columns)
    is_end = marks == _NEWLINE
    # As many ends as rows, and each where it should be: then no other line is longer or shorter.
    if rest or is_end.sum() != rows or not is_end[columns.columns - 1 :: columns.columns].all():
        return None
    numbers = parse_column(content.replace(delimiter, b"\n"), _NULLS)
    if numbers is None or len(numbers) != len(marks):
        return None
    with np.errstate(over="ignore"):
        return numbers.astype(np.float32).reshape(rows, columns.columns)


def _unquoted(content: bytes, delimiter: bytes) -> bytes:
    """The content without the quotes around whole cells of plain numbers."""
    edge = re.escape(delimiter)
    pattern = rb"(?:(?<=^)|(?<=" + edge + rb"))" + _QUOTED.pattern + rb"(?=" + edge + rb"|$)"
    return re.sub(pattern, rb"\1", content, flags=re.MULTILINE)
