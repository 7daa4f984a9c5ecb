"""Trains on the houses of three cities and packs sklearn_pipeline.tar.gz: build.py DIRECTORY."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import xgboost as xgb

from mme_training.archives.pack import MODEL_NAME, pack
from mme_training.fit import fit
from mme_training.houses import FEATURES, HYPERPARAMETERS, LABEL, SEED, make_houses
from mme_training.hyperparameters.parse import parse
from mme_training.split import split

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "code"))

from columns import make_columns  # noqa: E402

DEARER = {"Chicago_IL": 1.2, "Houston_TX": 1.0, "NewYork_NY": 1.9}


def make_table() -> pd.DataFrame:
    """Houses of the three cities, priced by city; one number in twenty is missing."""
    tables = [make_houses(city).assign(CITY=city) for city in DEARER]
    houses = pd.concat(tables, ignore_index=True)
    houses[LABEL] *= houses["CITY"].map(DEARER)
    missing = np.random.default_rng(SEED).random((len(houses), len(FEATURES))) < 0.05
    houses[list(FEATURES)] = houses[list(FEATURES)].mask(missing)
    return houses


def build(directory: Path) -> None:
    """Write the archive into `directory`."""
    houses = split(make_table(), SEED).train
    learned = {
        "medians": [float(houses[name].median()) for name in FEATURES],
        "cities": sorted(houses["CITY"].unique()),
    }
    rows = houses[[*FEATURES, "CITY"]].to_numpy(dtype=object)
    matrix = make_columns(**learned).transform(rows)
    booster = fit(parse(HYPERPARAMETERS), xgb.DMatrix(matrix, label=houses[LABEL])).booster
    files = ("mme.toml", "code/inference.py", "code/columns.py", "code/requirements.txt")
    extra = {name: HERE / name for name in files}
    with tempfile.TemporaryDirectory() as scratch:
        model, columns = Path(scratch, MODEL_NAME), Path(scratch, "columns.json")
        booster.save_model(model)
        columns.write_text(json.dumps(learned))
        pack(model, directory / "sklearn_pipeline.tar.gz", {**extra, "code/columns.json": columns})


if __name__ == "__main__":
    build(Path(sys.argv[1]))
