"""Models to serve: house prices from six features, 25 trees of depth 5, no two of them alike."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import xgboost as xgb

TREES = 25
DEPTH = 5
BASE_SCORE = 100_000
TEMPLATES = 4
ROW = b"2005,2134.5,3,2.5,0.42,2"

INFERENCE = '''\
"""Answers with prices instead of scores."""

import json


def output_fn(prediction, accept):
    return json.dumps({"prices": [round(float(value), 2) for value in prediction]})
'''

Code = Literal["none", "beside", "folder"]


@dataclass(frozen=True)
class Model:
    """One model on disk, and what it has to answer."""

    name: str
    folder: Path
    row: bytes
    expected: float
    coded: bool

    def is_right(self, answer: bytes) -> bool:
        """Tell whether an answer is this model's: neighbours differ by 1, float32 by 0.03."""
        try:
            document = json.loads(answer)
            value = document["prices"][0] if self.coded else document["predictions"][0]["score"]
        except (ValueError, KeyError, IndexError, TypeError):
            return False
        return bool(abs(value - self.expected) < 0.25)


def _train(seed: int) -> bytes:
    """Train on invented houses: year, area, bedrooms, bathrooms, acres, garage."""
    rng = np.random.default_rng(seed)
    size = 2_000
    features = np.column_stack(
        [
            rng.integers(1950, 2024, size),
            rng.normal(2_000, 500, size).round(1),
            rng.integers(1, 6, size),
            rng.integers(2, 8, size) / 2,
            rng.gamma(2, 0.2, size).round(2),
            rng.integers(0, 4, size),
        ]
    )
    weights = np.array([200, 150 + 10 * seed, 9_000, 12_000, 30_000, 7_000])
    price = features @ weights - 390_000 + rng.normal(0, 10_000, size)
    params = {
        "objective": "reg:squarederror",
        "max_depth": DEPTH,
        "base_score": BASE_SCORE,
        "nthread": 1,
        "seed": seed,
    }
    booster = xgb.train(params, xgb.DMatrix(features, price, nthread=1), TREES)
    return bytes(booster.save_raw("ubj"))


@cache
def _template(seed: int) -> tuple[bytes, float]:
    """Return a trained model and its prediction for `ROW`."""
    raw = _train(seed)
    booster = xgb.Booster(model_file=bytearray(raw))
    row = np.array([ROW.split(b",")], dtype=np.float32)
    return raw, float(booster.predict(xgb.DMatrix(row, nthread=1))[0])


def _shifted(raw: bytes, shift: int) -> bytes:
    """Move every prediction of a model by `shift`, so that copies are models of their own.

    Equal copies could share memory, or answer for each other, without the benchmark noticing.
    """
    score = f"[{BASE_SCORE + shift}]".encode()
    field = b"base_scoreSL" + struct.pack(">q", len(score)) + score
    shifted, count = re.subn(rb"base_scoreSL.{8}\[[^]]*\]", lambda _: field, raw, flags=re.DOTALL)
    if count != 1:
        raise ValueError("this XGBoost writes base_score in another way")
    return shifted


def write_models(scratch: Path, kind: str, count: int, code: Code = "none") -> list[Model]:
    """Write `count` models below `scratch`, in folders named the way SageMaker names them.

    `code` says where the small `inference.py` goes: ``folder`` is ``code/``, ``beside`` is the
    model's own folder, the only place stock MMS can import it from.
    """
    models = []
    for number in range(count):
        raw, prediction = _template(number % TEMPLATES)
        name = hashlib.sha256(f"{kind}-{number}".encode()).hexdigest()
        folder = scratch / "opt" / "ml" / "models" / name / "model"
        place = folder / "code" if code == "folder" else folder
        place.mkdir(parents=True)
        (folder / "model.ubj").write_bytes(_shifted(raw, number))
        if code != "none":
            (place / "inference.py").write_text(INFERENCE)
        models.append(Model(name, folder, ROW, prediction + number, code != "none"))
    return models
