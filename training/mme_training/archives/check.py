"""Rows with the trainer's predictions that an archive carries, to be checked where it is served.

``check.csv`` stands at the root of the archive, where the server takes no CSV file for a model.
Its first line names the columns: the features in the model's order, then ``prediction``, or
``prediction_0``, ``prediction_1`` and so on for a model of several outputs. Every number has the
digits that give the same float32 back; an empty cell is a missing value.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray
from scipy import sparse

from mme_training.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

_MOST_CELLS: Final = 100_000
_BODY_BYTES: Final = 1 << 20
_PREDICTION: Final = re.compile(r"prediction(_(0|[1-9]\d*))?")
_MISSING: Final = frozenset({"", "na", "nan", "null"})


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows as text; `predictions`, float32 (rows,) or (rows, outputs), if the file has any."""

    cells: list[list[str]]
    predictions: NDArray[np.float32] | None = None

    def bodies(self, most: int = 200) -> Iterator[bytes]:
        """The rows as text/csv without a header, at most `most` in a body, fewer of wide ones."""
        body, count = bytearray(), 0
        for row in self.cells:
            line = f"{_line(row)}\n".encode()
            if count == most or (body and len(body) + len(line) > _BODY_BYTES):
                yield bytes(body)
                body, count = bytearray(), 0
            body += line
            count += 1
        yield bytes(body)


def write_check(booster: xgb.Booster, features: Any, path: Path, rows: int = 10) -> None:
    """Write the first of `features`, and what `booster` predicts for them, as `path`.

    Fewer than `rows` are written where there are not as many, or where they are very wide.

    Args:
        booster: a trained one.
        features: float32 (rows, columns) in the booster's order, a CSR matrix whose absent cells
            are missing, or a frame of numbers and categories.
        path: the file to write, ``check.csv`` by convention.
        rows: how many.

    Raises:
        OSError: `path` cannot be written.
    """
    count = max(min(rows, _MOST_CELLS // max(features.shape[1], 1)), 1)
    frame = hasattr(features, "iloc")
    head = features.iloc[:count].apply(_carried) if frame else features[:count]
    types = None if frame else booster.feature_types
    matrix = xgb.DMatrix(
        head,
        feature_types=types,
        enable_categorical=frame or "c" in (types or ()),
        nthread=1,
    )
    predictions = booster.predict(matrix, validate_features=False)
    names = booster.feature_names or [f"f{column}" for column in range(features.shape[1])]
    write_rows(path, names, _cells(head), predictions)


def write_rows(
    path: Path,
    names: Sequence[str],
    cells: Sequence[Sequence[str]],
    predictions: NDArray[np.float32],
) -> None:
    """Write rows that are text already, with their predictions (rows,) or (rows, outputs)."""
    outputs = ["prediction"]
    if predictions.ndim > 1:
        outputs = [f"prediction_{number}" for number in range(predictions.shape[1])]
    values = predictions.reshape(len(predictions), -1).tolist()
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*names, *outputs])
        writer.writerows(
            [*row, *map(_text, value)] for row, value in zip(cells, values, strict=True)
        )


def read_rows(path: Path, features: int | None = None, names: Sequence[str] | None = None) -> Rows:
    """Read rows, with a header or without, and their predictions if the header names some.

    Args:
        path: a CSV file. Without a header it holds the features alone, in the model's order.
        features: how many the model takes; None if that is not known, and all columns count.
        names: what they are called; columns are then found by name, and others are left out.

    Raises:
        UserError: the file holds no rows, or its columns are not the model's.
        OSError: it cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [row for row in csv.reader(file) if row]
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path.name} is no CSV file: {error}") from None
    header = lines.pop(0) if lines and _is_header(lines[0], names) else None
    if not lines:
        raise UserError(f"{path.name} has no rows")
    width = len(header or lines[0])
    for number, line in enumerate(lines, 2 if header else 1):
        if len(line) != width:
            raise UserError(f"{path.name}, line {number}: {len(line)} cells where {width} are due")
    predicted = _predicted(header or [], names or ())
    order = _order(path, header, [n for n in range(width) if n not in predicted], features, names)
    cells = [[line[column] for column in order] for line in lines]
    return Rows(cells, _predictions(path, lines, predicted) if predicted else None)


def _carried(column: pd.Series[Any]) -> pd.Series[Any]:
    """The column without categories that are another text, or none, once a server reads CSV."""
    if column.dtype != "category" or not _has_names(column):
        return column
    lost = [text for text in column.cat.categories if not _is_carried(str(text))]
    return column.mask(column.isin(lost)) if lost else column


def _is_carried(text: str) -> bool:
    return bool(text) and text == text.strip() and len(text.splitlines()) == 1


def _has_names(column: pd.Series[Any]) -> bool:
    """Whether a server knows the categories; XGBoost garbles others, which are sent as codes."""
    return all(str(category).isascii() for category in column.cat.categories)


def _cells(features: Any) -> list[list[str]]:
    """Each value as text, a missing one as none."""
    if hasattr(features, "iloc"):
        columns = [_column(features.iloc[:, place]) for place in range(features.shape[1])]
        return [list(row) for row in zip(*columns, strict=True)]
    if sparse.issparse(features):
        rows = np.full(features.shape, np.nan, np.float32)
        stored = features.tocoo()
        rows[stored.row, stored.col] = stored.data
        features = rows
    values = np.asarray(features, np.float32).tolist()
    return [[_text(value) for value in row] for row in values]


def _column(column: pd.Series[Any]) -> list[str]:
    if column.dtype == "category":
        texts = [str(category) for category in column.cat.categories.tolist()]
        if not _has_names(column):
            texts = [str(code) for code in range(len(texts))]
        return [texts[code] if code >= 0 else "" for code in column.cat.codes.tolist()]
    values = column.to_numpy(np.float32, na_value=np.nan)
    return [_text(value) for value in values.tolist()]


def _text(value: float) -> str:
    """The digits that give the same float64 back, and so the same float32."""
    return "" if value != value else repr(value).removesuffix(".0")


def _line(row: Sequence[str]) -> str:
    """A row as CSV; the one cell of a row is never empty, for that would be no row at all."""
    if len(row) == 1:
        row = [row[0] or "NaN"]
    return ",".join(_quoted(cell) for cell in row)


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if any(c in cell for c in ',"\r\n') else cell


def _is_header(row: Sequence[str], names: Sequence[str] | None) -> bool:
    """Whether it names columns; if the model has names, one of them: a row may be all text."""
    if any(_PREDICTION.fullmatch(cell) for cell in row):
        return True
    if names:
        return not set(names).isdisjoint(row)
    return not any(_is_value(cell) for cell in row)


def _is_value(cell: str) -> bool:
    if cell.strip().lower() in _MISSING:
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _predicted(header: Sequence[str], names: Sequence[str]) -> list[int]:
    """The columns at the end of a header that hold predictions; a feature may be called so too."""
    if not header or not (last := _PREDICTION.fullmatch(header[-1])):
        return []
    most = int(last[2] or 0) + 1
    first = len(header)
    while first and len(header) - first < most and _PREDICTION.fullmatch(header[first - 1]):
        first -= 1
    if not {*names}.isdisjoint({*header[first:]} - {*header[:first]}):
        return []
    return list(range(first, len(header)))


def _order(
    path: Path,
    header: Sequence[str] | None,
    columns: list[int],
    features: int | None,
    names: Sequence[str] | None,
) -> list[int]:
    """Which columns are the features, in the model's order."""
    place = {header[column]: column for column in columns} if header else {}
    wanted = names or [f"f{column}" for column in range(features or 0)]
    missing = [name for name in wanted if name not in place]
    if place and wanted and not missing:
        return [place[name] for name in wanted]
    if place and names:
        raise UserError(f"{path.name} has no column {missing[0]!r}, which the model takes")
    if features is None or len(columns) == features:
        return columns
    raise UserError(
        f"{path.name} has {len(columns)} columns of features, and the model takes {features}"
    )


def _predictions(
    path: Path, lines: Sequence[Sequence[str]], columns: Sequence[int]
) -> NDArray[np.float32]:
    try:
        values = [[float(line[column] or "nan") for column in columns] for line in lines]
    except ValueError as error:
        raise UserError(f"{path.name}: a prediction is no number: {error}") from None
    array = np.array(values, np.float32)
    return array[:, 0] if len(columns) == 1 else array
