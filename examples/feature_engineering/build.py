"""Trains a model of house prices and packs feature_engineering.tar.gz: build.py DIRECTORY."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pandas as pd
import xgboost as xgb

from mme_training.archives.pack import MODEL_NAME, pack
from mme_training.fit import fit
from mme_training.houses import FEATURES, HYPERPARAMETERS, LABEL, SEED, make_houses
from mme_training.hyperparameters.parse import parse
from mme_training.split import split

HERE = Path(__file__).parent


def train(city: str) -> xgb.Booster:
    """A booster that predicts prices of the city's houses."""
    train, validation, _ = (matrix(part) for part in split(make_houses(city), SEED))
    return fit(parse(HYPERPARAMETERS), train, validation).booster


def matrix(houses: pd.DataFrame) -> xgb.DMatrix:
    """What XGBoost learns from."""
    return xgb.DMatrix(houses[list(FEATURES)], houses[LABEL])


def build(directory: Path) -> None:
    """Write the archive into `directory`."""
    booster = train("Houston_TX")
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch, MODEL_NAME)
        booster.save_model(model)
        code = {"code/inference.py": HERE / "code/inference.py"}
        pack(model, directory / "feature_engineering.tar.gz", code)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
