"""Trains a classifier and packs two archives, with and without code: build.py DIRECTORY.

A house that is cheap for its size is in demand: the thirds by dollars per square foot are the
classes 0, 1 and 2 of low, mid and high demand.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import xgboost as xgb

from mme_training.archives.pack import MODEL_NAME, pack
from mme_training.houses import FEATURES, LABEL, make_houses

HERE = Path(__file__).parent


def train() -> xgb.Booster:
    """A booster that gives the probability of each class."""
    houses = make_houses("Dallas_TX")
    per_foot = houses[LABEL] / houses["SQUARE_FEET"]
    demand = 2 - np.digitize(per_foot, np.quantile(per_foot, [1 / 3, 2 / 3]))
    parameters = {"objective": "multi:softprob", "num_class": 3, "max_depth": 4, "nthread": 1}
    return xgb.train(parameters, xgb.DMatrix(houses[list(FEATURES)], demand), 20)


def build(directory: Path) -> None:
    """Write both archives into `directory`."""
    plain = {"mme.toml": HERE / "mme.toml"}
    named = {f"code/{name}": HERE / "code" / name for name in ("inference.py", "labels.json")}
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch, MODEL_NAME)
        train().save_model(model)
        pack(model, directory / "multiclass_labels.tar.gz", plain)
        pack(model, directory / "multiclass_labels_named.tar.gz", named)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
