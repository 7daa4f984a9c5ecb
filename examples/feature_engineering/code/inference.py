"""Makes the model's six features of houses as people describe them."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from mme_handler import input_fn as default_input_fn
from mme_handler.errors import BadRequestError

# Where a feature is found, and the least and most that can be true; in the model's order.
FIELDS = (
    ("year_built", 1600, 2100),
    ("square_feet", 100, 100_000),
    ("bedrooms", 0, 100),
    ("bathrooms", 0, 100),
    ("lot.acres", 0, 100_000),
    ("garage.spaces", 0, 100),
)
SQUARE_FEET_PER = {"": 1.0, "sq ft": 1.0, "sqft": 1.0, "sq m": 10.7639}
NUMBER = re.compile(r"(-?[0-9][0-9,]*(?:\.[0-9]+)?)\s*(.*)", re.DOTALL)


def input_fn(body: Any, content_type: str) -> Any:
    """Read one house or a list of them as JSON; other content types hold the features already."""
    if content_type.partition(";")[0].strip().lower() != "application/json":
        return default_input_fn(body, content_type)
    try:
        houses = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequestError("the body is not valid JSON") from None
    houses = houses if isinstance(houses, list) else [houses]
    if not houses:
        raise BadRequestError("the list is empty; send at least one house")
    return np.array([features(house, n) for n, house in enumerate(houses, 1)], np.float32)


def features(house: Any, number: int) -> list[float]:
    """The features of one house; null is "not known", which XGBoost copes with."""
    row = []
    for field, least, most in FIELDS:
        where = f"house {number}, {field}"
        value = to_number(find(house, field, where), field, where)
        if value < least or value > most:  # neither if it is NaN
            raise BadRequestError(f"{where}: {value:g} is not between {least:,} and {most:,}")
        row.append(value)
    return row


def find(house: Any, field: str, where: str) -> Any:
    """The value at a path such as ``lot.acres``; null if a part of the path is null."""
    value = house
    for key in field.split("."):
        if not isinstance(value, dict):
            raise BadRequestError(f"{where}: not within a JSON object")
        if key not in value:
            raise BadRequestError(f"{where}: not there; write null if it is not known")
        value = value[key]
        if value is None:
            break
    return value


def to_number(value: Any, field: str, where: str) -> float:
    """Read 3000, "3,000" and "2.5"; for an area also "3,000 sq ft" and "279 sq m"."""
    if value is None:
        return float("nan")
    if isinstance(value, str) and (match := NUMBER.fullmatch(value.strip())):
        number, unit = match[1].replace(",", ""), match[2].lower().replace(".", "")
        units = SQUARE_FEET_PER if field == "square_feet" else {"": 1.0}
        if unit in units:
            return float(number) * units[unit]
    elif isinstance(value, int | float) and not isinstance(value, bool) and value == value:
        return float(max(-1e9, min(value, 1e9)))  # an integer can be too large for a float
    what = json.dumps(value)[:40] if isinstance(value, str) else f"a {type(value).__name__}"
    raise BadRequestError(f"{where}: {what} is not a number, or not in a known unit")
