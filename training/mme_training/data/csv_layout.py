"""How a CSV file is laid out: its delimiter, its columns, and that it has no header."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

from mme_handler.codecs.csv_lines import parse
from mme_training.data.lines import Block, decoded, show
from mme_training.errors import UserError

_LOG = logging.getLogger(__name__)
_DELIMITERS = ",\t;| "
_QUOTED = re.compile(r'"[^"]*"')
_NAMES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a CSV file: labels, a weight if there is one, features."""

    delimiter: str
    columns: int
    labels: int
    weighted: bool
    line: int
    """The first line that is not blank."""

    @property
    def blank(self) -> bytes:
        """What a blank line may consist of."""
        return b" \t".replace(self.delimiter.encode(), b"")

    @property
    def before(self) -> int:
        """How many columns are before the features."""
        return self.labels + self.weighted


def layout(block: Block, labels: int, weighted: bool) -> Layout | None:
    """The layout that the first line of a file's first block shows; None if all lines are blank.

    Raises:
        UserError: the line is a header, or there are no features.
    """
    first = next(decoded(block), None)
    if first is None:
        return None
    number, line = first
    delimiter = _delimiter(line)
    cells = line.split(delimiter)
    found = Layout(delimiter, len(cells), labels, weighted, number)
    _check_header(cells, block.where(number))
    if len(cells) <= found.before:
        needs = "a label" if labels == 1 else f"{labels} labels"
        weight = ", a weight" if weighted else ""
        columns = "column" if len(cells) == 1 else "columns"
        raise UserError(
            f"{block.where(number)}: {len(cells)} {columns}; a row of CSV is {needs}{weight} and "
            "features, with a comma, tab, semicolon, pipe or space between them"
        )
    return found


def check_same(found: Layout, file: str, first: Layout, first_file: str) -> None:
    """Refuse a file with another number of columns than the channel's first file."""
    if found.columns != first.columns:
        raise UserError(
            f"{file}, line {found.line}: {found.columns} columns where {first_file} has "
            f"{first.columns}"
        )


def _delimiter(line: str) -> str:
    """The delimiter that makes all cells numbers, if there is one, and the most cells."""

    plain = _QUOTED.sub("", line)

    def rank(delimiter: str) -> tuple[bool, bool, int]:
        cells = line.split(delimiter)
        numbers = all(parse(cell.strip(' "')) is not None for cell in cells)
        return numbers, delimiter != " ", plain.count(delimiter)

    present = [delimiter for delimiter in _DELIMITERS if delimiter in line]
    return max(present, key=rank, default=",")


def _check_header(cells: list[str], where: str) -> None:
    texts = [text for cell in cells if (text := cell.strip(' "'))]
    numbers = [value for text in texts if (value := parse(text)) is not None]
    if texts and not numbers:
        more = ", ..." if len(texts) > _NAMES_SHOWN else ""
        names = ", ".join(show(text)[1:-1] for text in texts[:_NAMES_SHOWN])
        raise UserError(
            f"{where} looks like a header ({names}{more}): SageMaker's CSV has none; remove it"
        )
    if len(numbers) > 2 and numbers == list(range(len(cells))):
        _LOG.warning(
            "%s is 0, 1, 2 and so on: if it is a header, as pandas writes for columns without "
            "names, remove it",
            where,
        )
