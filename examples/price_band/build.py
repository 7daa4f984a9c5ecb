"""Trains a model of house prices and packs price_band.tar.gz: build.py DIRECTORY."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from mme_training.houses import SEED, make_houses
from mme_training.pack import MODEL_NAME, pack
from mme_training.split import split
from mme_training.train import train

CODE = Path(__file__).parent / "code"


def build(directory: Path) -> None:
    """Write the archive into `directory`."""
    parts = split(make_houses("Chicago_IL"), SEED)
    extra = {f"code/{name}": CODE / name for name in ("inference.py", "bands.json")}
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch, MODEL_NAME)
        train(parts.train, parts.validation).booster.save_model(model)
        pack(model, directory / "price_band.tar.gz", extra)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
