"""The first line of text/csv: whether it names the columns, and which column is where."""

from __future__ import annotations

from mme_handler.codecs.csv_lines import MISSING, parse, split
from mme_handler.codecs.schema import Schema
from mme_handler.errors import BadRequestError

_BOM = b"\xef\xbb\xbf"


def header_names(line: bytes, separator: bytes, schema: Schema) -> list[str] | None:
    """The names in the first line of a body; None if it is a row of values.

    A header has text in it and no number, or just the model's names. Without names in the model it
    has as many cells as a row; and a line with a category of its column is a header only if there
    is a name of the model in it too.
    """
    try:
        text = line.removeprefix(_BOM).decode().rstrip("\r")
    except UnicodeDecodeError:
        return None
    most = 2 * schema.features + 100  # a longer line is no header that went a little wrong
    cells, open_cell = split(text, separator.decode(), most)
    if len(cells) > most or (schema.names is None and len(cells) != schema.features):
        return None
    if open_cell is not None:
        return None
    cells = [cell.strip() for cell in cells]
    return cells if _are_names(cells, schema) else None


def header_order(names: list[str], schema: Schema) -> list[int] | None:
    """`schema.order`, its error naming the line."""
    try:
        return schema.order(names)
    except BadRequestError as error:
        raise BadRequestError(f"line 1: {error}") from None


def _are_names(cells: list[str], schema: Schema) -> bool:
    texts = {column: cell for column, cell in enumerate(cells) if parse(cell) is None}
    if not texts:
        return False
    names = frozenset(schema.names or ())
    if names == frozenset(cells):
        return True
    others = (cell for column, cell in enumerate(cells) if column not in texts)
    if any(cell.lower() not in MISSING for cell in others):
        return False
    known = [c for c, text in texts.items() if text in schema.categories.get(c, ())]
    if len(known) == len(texts) and len(cells) == schema.features:
        return False
    return not known or not names.isdisjoint(cells)
