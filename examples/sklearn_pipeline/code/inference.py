"""A scikit-learn pipeline in front of XGBoost, made anew from JSON: no pickle is loaded."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from columns import make_columns
from sklearn.pipeline import Pipeline
from xgboost import XGBRegressor

from mme_handler.errors import BadRequestError, UnsupportedContentTypeError

LARGEST = 1e12


def model_fn(model_dir: str) -> Pipeline:
    """Make the pipeline: what it learned from columns.json, the trees from model.ubj."""
    learned = json.loads(Path(__file__).with_name("columns.json").read_text())
    booster = XGBRegressor(n_jobs=1)
    booster.load_model(Path(model_dir, "model.ubj"))
    return Pipeline([("columns", make_columns(**learned)), ("booster", booster)])


def input_fn(body: str | bytes, content_type: str) -> Any:
    """Read CSV: six numbers, any of which may be empty, and a city."""
    if not isinstance(body, str) or content_type.partition(";")[0].strip().lower() != "text/csv":
        raise UnsupportedContentTypeError("this model reads text/csv only")
    try:
        lines = list(csv.reader(io.StringIO(body, newline="")))
    except csv.Error as error:
        raise BadRequestError(f"the body is not valid CSV: {error}") from None
    if not lines:
        raise BadRequestError("the body is empty; send at least one row")
    rows = [row(cells, number) for number, cells in enumerate(lines, 1)]
    return np.array(rows, dtype=object)


def row(cells: list[str], number: int) -> list[Any]:
    """One house: a float for each number, NaN where it is missing, and the city's name."""
    if len(cells) != 7:
        raise BadRequestError(f"line {number}: got {len(cells)} values, the model takes 7")
    try:
        numbers = [float(cell) if cell.strip() else math.nan for cell in cells[:6]]
    except ValueError as error:
        raise BadRequestError(f"line {number}: {error}") from None
    if any(abs(value) > LARGEST for value in numbers):
        raise BadRequestError(f"line {number}: a number is too large")
    return [*numbers, cells[6].strip()]
