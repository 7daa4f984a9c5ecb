"""Models of house prices, their rows, and their archives."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import xgboost as xgb

FEATURES = 6

_numbers = itertools.count()


def make_rows(count: int, seed: int = 0) -> np.ndarray:
    """House-like rows: area, rooms, age, distance, latitude, longitude; a few are missing."""
    rng = np.random.default_rng(seed)
    rows = np.stack(
        [
            rng.uniform(30, 300, count),
            rng.integers(1, 9, count),
            rng.uniform(0, 120, count),
            rng.exponential(8, count),
            rng.uniform(47, 55, count),
            rng.uniform(6, 15, count),
        ],
        axis=1,
    ).astype(np.float32)
    rows[rng.random(rows.shape) < 0.03] = np.nan
    return rows


def train(seed: int = 0, trees: int = 25) -> xgb.Booster:
    """A house-price model; each seed gives another one."""
    rows = make_rows(2000, seed)
    known = np.nan_to_num(rows)
    prices = known[:, 0] * (3000 + 40 * known[:, 4]) - 900 * known[:, 2] + 1e4 * known[:, 1]
    parameters = {"max_depth": 5, "eta": 0.2, "nthread": 1, "seed": seed}
    return xgb.train(parameters, xgb.DMatrix(rows, prices), trees)


def padded(booster: xgb.Booster, size: int) -> xgb.Booster:
    """The same model, whose UBJSON file has so many bytes."""
    same = booster.copy()
    same.set_attr(padding="-")
    missing = size - len(same.save_raw("ubj"))
    assert missing >= 0, f"{size} bytes are {-missing} too few"
    same.set_attr(padding="-" * (1 + missing))
    return same


def csv_of(rows: np.ndarray) -> bytes:
    """The rows as a text/csv body, every bit of them; missing values are empty."""
    return b"".join(
        ",".join("" if np.isnan(value) else repr(float(value)) for value in row).encode() + b"\n"
        for row in rows
    )


def json_of(rows: np.ndarray) -> bytes:
    """The rows as an application/json body."""
    cells = [[None if np.isnan(value) else float(value) for value in row] for row in rows]
    return json.dumps({"instances": cells}).encode()


@dataclass(frozen=True)
class Model:
    """An unpacked archive where SageMaker would put it, and the booster in it."""

    name: str
    path: Path
    booster: xgb.Booster

    @property
    def file(self) -> Path:
        """The model file, if it has the usual name."""
        return next(self.path.glob("model.*"))

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """What XGBoost itself answers."""
        return self.booster.predict(xgb.DMatrix(rows))


class ModelStore:
    """Writes archives below ``<root>/opt/ml/models``."""

    def __init__(self, root: Path) -> None:
        self.root = root / "opt" / "ml" / "models"
        self._boosters: dict[int, xgb.Booster] = {}

    def booster(self, seed: int = 0) -> xgb.Booster:
        """The booster that `seed` gives, trained once."""
        if seed not in self._boosters:
            self._boosters[seed] = train(seed)
        return self._boosters[seed]

    def __call__(
        self,
        kind: str = "ubj",
        *,
        files: Mapping[str, str | bytes] | None = None,
        seed: int = 0,
    ) -> Model:
        """Write a fresh archive with a name of its own: 64 hex digits.

        `kind` is the model file's format, ``ubj`` or ``json``; ``none`` writes no model file.
        `files` are further files, by path within the archive.
        """
        name = hashlib.sha256(f"{os.getpid()} {next(_numbers)}".encode()).hexdigest()
        path = self.root / name / "model"
        path.mkdir(parents=True)
        if kind != "none":
            self.booster(seed).save_model(path / f"model.{kind}")
        for member, content in (files or {}).items():
            file = path / member
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode() if isinstance(content, str) else content)
        return Model(name, path, self.booster(seed))

    def of(self, booster: xgb.Booster) -> Model:
        """Write a fresh archive of a booster that the test has made."""
        model = self("none", files={"model.ubj": bytes(booster.save_raw("ubj"))})
        return replace(model, booster=booster)
