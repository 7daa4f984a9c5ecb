"""What a synthetic house is, what it costs, and how a table of houses is laid out.

One row is one house. The price is the label and stands first, as XGBoost's CSV convention wants
it; the features follow in the order of `FEATURES`, which is also the order a request must use.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

CITIES: Final = (
    "NewYork_NY",
    "LosAngeles_CA",
    "Chicago_IL",
    "Houston_TX",
    "Dallas_TX",
    "Phoenix_AZ",
    "Philadelphia_PA",
    "SanAntonio_TX",
    "SanDiego_CA",
    "SanFrancisco_CA",
)

LABEL: Final = "PRICE"
FEATURES: Final = (
    "YEAR_BUILT",
    "SQUARE_FEET",
    "NUM_BEDROOMS",
    "NUM_BATHROOMS",
    "LOT_ACRES",
    "GARAGE_SPACES",
)
COLUMNS: Final = (LABEL, *FEATURES)

SEED: Final = 2019

HYPERPARAMETERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "objective": "reg:squarederror",
        "max_depth": "5",
        "eta": "0.2",
        "gamma": "4",
        "min_child_weight": "6",
        "subsample": "0.8",
        "num_round": "25",
        "early_stopping_rounds": "5",
        "seed": str(SEED),
    }
)
"""What a model of house prices is trained with, as SageMaker takes them."""

MODEL_YEAR: Final = 2019
MIN_SQUARE_FEET: Final = 300
MIN_LOT_ACRES: Final = 0.05


def make_houses(city: str, rows: int = 1000, seed: int = SEED) -> pd.DataFrame:
    """Draw `rows` houses and price them.

    The columns are `COLUMNS`: bathrooms (by halves) and acres (to a hundredth) are float64, the
    rest, the price in dollars included, int64. The tails of the normal distributions are cut: no
    house is newer than `MODEL_YEAR`, smaller than `MIN_SQUARE_FEET`, or on less land than
    `MIN_LOT_ACRES`. The price is never cut, so a house both tiny and old may rarely cost less
    than nothing.

    The same city, rows and seed always give the same houses, whatever was drawn before. Any city
    name will do, not only those of `CITIES`.

    Raises:
        ValueError: `rows` is below one, or `seed` is negative.
    """
    if rows < 1:
        raise ValueError(f"rows must be at least 1, not {rows}")
    random = np.random.default_rng([seed, *city.encode()])
    frame = pd.DataFrame(
        {
            "YEAR_BUILT": _whole(random.normal(1995, 10, rows)).clip(max=MODEL_YEAR),
            "SQUARE_FEET": _whole(random.normal(3000, 750, rows)).clip(min=MIN_SQUARE_FEET),
            "NUM_BEDROOMS": random.integers(2, 6, rows, endpoint=True),
            "NUM_BATHROOMS": random.integers(2, 6, rows, endpoint=True) / 2,
            "LOT_ACRES": random.normal(1, 0.25, rows).round(2).clip(min=MIN_LOT_ACRES),
            "GARAGE_SPACES": random.integers(0, 3, rows, endpoint=True),
        }
    )
    frame.insert(0, LABEL, price(frame))
    return frame


def price(houses: pd.DataFrame) -> pd.Series[int]:
    """Return the price of each house in whole dollars: int64, one per row of `houses`.

    `houses` has the columns `FEATURES`; others are ignored.

    Raises:
        KeyError: a feature is missing.
    """
    dollars = (
        150 * houses["SQUARE_FEET"]
        + 10_000 * houses["NUM_BEDROOMS"]
        + 15_000 * (houses["NUM_BATHROOMS"] + houses["LOT_ACRES"] + houses["GARAGE_SPACES"])
        - 5_000 * (MODEL_YEAR - houses["YEAR_BUILT"])
    )
    # A hundredth of an acre is worth 150 dollars: only floating-point dust is rounded away.
    return dollars.round().astype("int64")


def write_csv(houses: pd.DataFrame, path: Path) -> None:
    """Write `houses` in the order of `COLUMNS`, without a header and without the index.

    Raises:
        KeyError: a column is missing.
        OSError: `path` cannot be written.
    """
    houses[list(COLUMNS)].to_csv(path, header=False, index=False)


def _whole(values: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(values).astype(np.int64)
