"""text/libsvm: a row of ``label[:weight] [qid:n] index:value ..`` per line.

Column n is index n: the first is 0, as it is for ``xgb.DMatrix("file?format=libsvm")``, for
SageMaker's own image, and for a body of the handler. In data that count from 1 column 0 is empty.
An index that a line leaves out is a missing value, not a zero.

XGBoost's own reader of text is deprecated, and ends the process at some mistakes; scikit-learn's
knows no weights and is several times slower than what is done here: the numbers are told apart by
the mark after each of them, all read at once by pyarrow. A block that is not plain enough for that
is read by `libsvm_exact`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mme_training.data import libsvm_exact
from mme_training.data.content_type import ContentType
from mme_training.data.dataset import Dataset
from mme_training.data.files import DataFile
from mme_training.data.libsvm_exact import MISSING, Rows, Shape, shape
from mme_training.data.lines import Block, blocks, in_parallel, parse_column, spellings
from mme_training.errors import UserError

_LOG = logging.getLogger(__name__)
_NULLS = spellings("nan", *sorted(MISSING))
_COMMENT = re.compile(rb"#[^\n]*")
_BLANKS = re.compile(rb"[ \t]+")
_QUERY, _COLON, _NEWLINE = ord("|"), ord(":"), ord("\n")
_MARKS: Final = b" :|\n"
_NO_MARKS = bytes(set(range(256)) - set(_MARKS))
_TO_LINES = bytes.maketrans(_MARKS, b"\n" * len(_MARKS))
_MOST_COLUMNS = 2**31 - 1

Job = tuple[Block, Shape, int | None]


def read(
    files: Sequence[DataFile], content_type: ContentType, columns: int | None = None
) -> Dataset | None:
    """Read all rows of the files; None if there is none.

    Args:
        files: all with weights, or none; and all with query ids, or none.
        content_type: tells the charset.
        columns: how many features there are; default: as many as the highest index needs.

    Raises:
        UserError: names the file and the line of what is wrong.
    """
    names, parts = [], []
    for name, part in in_parallel(_jobs(files, content_type, columns), _parse):
        if len(part.label):
            names.append(name)
            parts.append(part)
    if not parts:
        return None
    indices = np.concatenate([part.indices for part in parts])
    if columns is None:
        columns = int(indices.max()) + 1 if len(indices) else 0
        if not columns:
            raise UserError(f"{names[0]}: no row has an index:value, so there are no features")
        if len(indices) and indices.min() == 1:
            _LOG.info(
                "the lowest index is 1: column 0 is empty, and index n stays column n in requests"
            )
    starts = np.concatenate([[0], np.cumsum(np.concatenate([part.sizes for part in parts]))])
    values = np.concatenate([part.values for part in parts])
    features = sparse.csr_matrix((values, indices, starts), shape=(len(starts) - 1, columns))
    weights = [part.weight for part in parts if part.weight is not None]
    return Dataset(
        features,
        np.concatenate([part.label for part in parts]),
        np.concatenate(weights) if weights else None,
        _queries(names, [part.qid for part in parts if part.qid is not None]),
    )


def _jobs(
    files: Sequence[DataFile], content_type: ContentType, columns: int | None
) -> Iterator[Job]:
    first = None
    for file in files:
        for block in blocks(file, content_type):
            first = first or shape(block)
            if first is not None:
                yield block, first, columns


def _parse(job: Job) -> tuple[str, Rows]:
    block, first, columns = job
    rows = _fast(block.content, first, columns)
    return block.file, libsvm_exact.read(*job) if rows is None else rows


def _fast(content: bytes, first: Shape, columns: int | None) -> Rows | None:
    """The rows if all is plain; else None."""
    if b"\0" in content or b"|" in content or b"\r" in content:
        return None
    if b"#" in content and not content.isascii():
        return None  # A comment may be anything but what is not UTF-8.
    content = _plain(content)
    if not content:
        return None
    marks = np.frombuffer(content.translate(None, _NO_MARKS), np.uint8)
    numbers = parse_column(content.translate(_TO_LINES), _NULLS)
    if numbers is None or len(numbers) != len(marks):
        return None
    ends = marks == _NEWLINE
    starts = np.concatenate([[0], np.flatnonzero(ends)[:-1] + 1])
    # What stands before the features of a row, each with its mark, and where those begin.
    before = starts.copy()
    if first.weighted:
        if (marks[starts] != _COLON).any():
            return None
        before += 1
    if first.queries:
        if (marks[before] != _QUERY).any():
            return None
        before += 1
    if (marks == _QUERY).sum() != (len(starts) if first.queries else 0):
        return None
    return _rows(numbers, marks, starts, before, first, columns)


def _rows(
    numbers: NDArray[np.float64],
    marks: NDArray[np.uint8],
    starts: NDArray[np.int64],
    before: NDArray[np.int64],
    first: Shape,
    columns: int | None,
) -> Rows | None:
    """The rows whose labels are at `starts`, with no more before the features than `before`."""
    is_index = marks == _COLON
    if first.weighted:
        is_index[starts] = False
    is_value = np.roll(is_index, 1)  # The last mark is a newline.
    others = np.flatnonzero(~(is_index | is_value))
    here = np.unique(np.concatenate([starts, starts + first.weighted, before]))
    if (is_index & is_value).any() or len(others) != len(here) or (others != here).any():
        return None
    label, index, values = numbers[starts], numbers[is_index], numbers[is_value]
    with np.errstate(over="ignore"):
        floats = values.astype(np.float32)
        labels = label.astype(np.float32)
        weight = numbers[starts + 1].astype(np.float32) if first.weighted else None
    most = _MOST_COLUMNS if columns is None else columns
    # Written so that NaN is refused too.
    if not ((index >= 0) & (index < most) & (index == np.floor(index))).all():
        return None
    if np.isinf(floats).any() or not np.isfinite(labels).all():
        return None
    if weight is not None and not (np.isfinite(weight) & (weight >= 0)).all():
        return None
    row = (np.cumsum(np.roll(marks == _NEWLINE, 1)) - 1)[is_value]
    if ((np.diff(index) <= 0) & (np.diff(row) == 0)).any():
        return None  # The indices of a row do not rise.
    qid = None
    if first.queries:
        query = numbers[before]
        if not ((query >= 0) & (query < 2**32) & (query == np.floor(query))).all():
            return None
        qid = query.astype(np.int64)
    kept = ~np.isnan(floats)
    sizes = np.bincount(row[kept], minlength=len(starts))
    return Rows(labels, weight, qid, sizes, index[kept].astype(np.int32), floats[kept])


def _plain(content: bytes) -> bytes:
    """The content with one space between tokens, `|` for qid:, no comments and no blank lines."""
    if b"#" in content:
        content = _COMMENT.sub(b"", content)
    if b"\t" in content or b"  " in content:
        content = _BLANKS.sub(b" ", content)
    if b" \n" in content:
        content = content.replace(b" \n", b"\n")
    if b"\n " in content or b"\n\n" in content or content.startswith((b" ", b"\n")):
        content = b"".join(line.lstrip(b" ") + b"\n" for line in content.split(b"\n") if line)
    return content.replace(b" qid:", b"|")


def _queries(names: list[str], parts: list[NDArray[np.int64]]) -> NDArray[np.uint32] | None:
    """The queries numbered in their order, for XGBoost takes only ids that rise."""
    if not parts:
        return None
    qid = np.concatenate(parts)
    begins = np.concatenate([[True], qid[1:] != qid[:-1]])
    found, counts = np.unique(qid[begins], return_counts=True)
    if (counts > 1).any():
        again = found[counts > 1][0]
        row = np.flatnonzero(begins & (qid == again))[1]
        part = int(np.searchsorted(np.cumsum([len(ids) for ids in parts]), row, side="right"))
        raise UserError(
            f"{names[part]}: qid {again} is there again after other queries; the rows of a query "
            "must stand together, in one file or in files that follow each other"
        )
    return (np.cumsum(begins) - 1).astype(np.uint32)
