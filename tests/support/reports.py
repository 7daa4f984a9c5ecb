"""Small trainings of many models, for what is said of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mme_training.houses import LABEL, make_houses
from mme_training.many.local import LocalEngine
from mme_training.many.run import train_many

HOSTILE = "<script>alert(\"1\")</script> & 'quotes' {{ 7 * 7 }} $x_2$ \u202edrow"
KEYS = ("Dallas_TX", "Houston_TX", HOSTILE, "São Paulo", "Phoenix_AZ")
TINY = "<b>Tiny</b>"


def train(table: pd.DataFrame, out: Path, hyperparameters: Mapping[str, Any]) -> Path:
    """Train a model for each `city` of `table` into `out`; return `out`."""
    out.mkdir(parents=True)
    table.to_parquet(out / "table.parquet")
    given = {"nthread": 1, **hyperparameters}
    train_many(out / "table.parquet", "city", LABEL, out, LocalEngine(workers=1), given)
    return out


def houses(rows: int = 80) -> pd.DataFrame:
    """The houses of `KEYS`, and two of `TINY`, by `city`."""
    tables = [make_houses(key, rows).assign(city=key) for key in KEYS]
    return pd.concat([*tables, make_houses(TINY, 2).assign(city=TINY)])
