"""A plain XGBoost handler for stock multi-model-server: every model in a process of its own.

The function style of handler is the fastest one MMS knows. MMS calls it once with no data when the
model is loaded and sets ``OMP_NUM_THREADS=1`` itself.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import xgboost as xgb

_booster: xgb.Booster | None = None
_inference: Any = None


def _load(model_dir: Path) -> xgb.Booster:
    """Load the model, and the `inference.py` beside it if there is one."""
    global _inference
    if (model_dir / "inference.py").exists():
        # MMS puts the model's folder on the worker's PYTHONPATH.
        _inference = importlib.import_module("inference")
    booster = xgb.Booster(model_file=str(model_dir / "model.ubj"))
    booster.set_param({"nthread": 1})
    return booster


def _answer(booster: xgb.Booster, body: bytes) -> str:
    """Predict for every line of a CSV body."""
    rows = np.loadtxt(body.decode().splitlines(), delimiter=",", dtype=np.float32, ndmin=2)
    prediction = booster.predict(xgb.DMatrix(rows, nthread=1))
    if _inference is not None:
        return str(_inference.output_fn(prediction, "application/json"))
    return json.dumps({"predictions": [{"score": float(score)} for score in prediction]})


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[str]:
    """Answer a batch of requests; without data, only load."""
    global _booster
    if _booster is None:
        _booster = _load(Path(context.system_properties["model_dir"]))
    return [_answer(_booster, bytes(request["body"])) for request in data or []]
