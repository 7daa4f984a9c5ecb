"""Tables of segments, and runs over them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mme_training.houses import make_houses
from mme_training.many.local import LocalEngine
from mme_training.many.run import train_many
from mme_training.many.work import Engine, Record

HYPERPARAMETERS: Mapping[str, Any] = {
    "objective": "reg:squarederror",
    "max_depth": 3,
    "eta": 0.3,
    "subsample": 0.8,
    "seed": 7,
    "num_round": 8,
    "early_stopping_rounds": 3,
}
CITIES = ("Boston", "Chicago", "Dallas")
LABEL = "PRICE"
SEED = 2019


def houses(cities: Sequence[str] = CITIES, rows: int = 60) -> pd.DataFrame:
    """Houses of some cities, their rows mixed, with the column ``city``."""
    frames = [make_houses(city, rows).assign(city=city) for city in cities]
    return pd.concat(frames).sample(frac=1, random_state=0).reset_index(drop=True)


def write(frame: pd.DataFrame, directory: Path, name: str = "houses.parquet") -> Path:
    """Write a table and return where it is."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    frame.to_parquet(path, index=False)
    return path


def run(table: Path, out: Path, engine: Engine | None = None, **options: Any) -> list[Record]:
    """Train on a table of houses."""
    given: dict[str, Any] = {"hyperparameters": HYPERPARAMETERS, "seed": SEED, **options}
    return train_many(table, "city", LABEL, out, engine or LocalEngine(1), **given)


class Kills:
    """Ends, at once, whichever process unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (9,)
