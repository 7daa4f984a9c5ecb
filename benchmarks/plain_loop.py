"""The plain way to train a model for each city: ``python -m benchmarks.plain_loop TABLE OUT N``.

Read the table, group it, and for each group split, train with early stopping, judge, save and pack.
N is the number of threads, 0 for XGBoost's own choice.
"""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import xgboost as xgb

PARAMETERS = {
    "objective": "reg:squarederror",
    "max_depth": 5,
    "eta": 0.2,
    "gamma": 4,
    "min_child_weight": 6,
    "subsample": 0.8,
    "seed": 2019,
}
ROUNDS = 25
EARLY_STOPPING_ROUNDS = 5
SEED = 2019


def main(table: Path, out: Path, threads: int) -> None:
    """Write an archive for each city, and a table of the errors."""
    out.mkdir(parents=True)
    parameters = {**PARAMETERS, **({"nthread": threads} if threads else {})}
    errors = {}
    for city, rows in pd.read_parquet(table).groupby("city"):
        order = np.random.default_rng(SEED).permutation(len(rows))
        cuts = [len(rows) * 6 // 10, len(rows) * 9 // 10]
        train, validation, test = (
            xgb.DMatrix(
                part.drop(columns=["city", "PRICE"]), part["PRICE"], nthread=threads or None
            )
            for part in (rows.iloc[places] for places in np.split(order, cuts))
        )
        booster = xgb.train(
            parameters,
            train,
            ROUNDS,
            evals=[(train, "train"), (validation, "validation")],
            early_stopping_rounds=EARLY_STOPPING_ROUNDS,
            verbose_eval=False,
        )
        booster = booster[: booster.best_iteration + 1]
        error = booster.predict(test) - test.get_label()
        errors[str(city)] = float(np.sqrt(np.mean(error**2)))
        booster.save_model(out / "model.ubj")
        with tarfile.open(out / f"{city}.tar.gz", "w:gz") as tar:
            tar.add(out / "model.ubj", "model.ubj")
    pd.Series(errors, name="rmse").to_frame().to_parquet(out / "errors.parquet")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
