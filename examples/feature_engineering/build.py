"""Trains a model of house prices and packs feature_engineering.tar.gz: build.py DIRECTORY."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from mme_training.houses import SEED, make_houses
from mme_training.pack import MODEL_NAME, pack
from mme_training.split import split
from mme_training.train import train

HERE = Path(__file__).parent


def build(directory: Path) -> None:
    """Write the archive into `directory`."""
    parts = split(make_houses("Houston_TX"), SEED)
    booster = train(parts.train, parts.validation).booster
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch, MODEL_NAME)
        booster.save_model(model)
        code = {"code/inference.py": HERE / "code/inference.py"}
        pack(model, directory / "feature_engineering.tar.gz", code)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
