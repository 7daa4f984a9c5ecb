"""An XGBoost handler in the style that AWS's page shows: a class, and `handle` over one of it.

multi-model-server calls `handle` with no data when it loads a model, and with a batch of requests
afterwards. `MemoryError` is what it turns into 507.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import xgboost as xgb


class ModelHandler:
    """One model in one process."""

    def __init__(self) -> None:
        self.booster: xgb.Booster | None = None

    def initialize(self, context: Any) -> None:
        """Load the model file of the directory that multi-model-server names."""
        directory = Path(context.system_properties["model_dir"])
        files = [*directory.glob("*.ubj"), *directory.glob("*.json"), *directory.glob("xgboost-*")]
        if not files:
            raise FileNotFoundError(f"no model file in {directory}")
        try:
            self.booster = xgb.Booster(model_file=str(files[0]))
        except xgb.core.XGBoostError as error:
            if "bad_alloc" in str(error):
                raise MemoryError from error
            raise

    def handle(self, data: list[dict[str, Any]]) -> list[str]:
        """Predict for the CSV rows of each request."""
        assert self.booster is not None
        answers = []
        for request in data:
            body = request["body"]
            text = body if isinstance(body, str) else bytes(body).decode()
            rows = np.loadtxt(text.splitlines(), delimiter=",", dtype=np.float32, ndmin=2)
            answers.append(json.dumps(self.booster.predict(xgb.DMatrix(rows)).tolist()))
        return answers


_service = ModelHandler()


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[str] | None:
    """Load when there is nothing loaded, and answer when there is something to answer."""
    if _service.booster is None:
        _service.initialize(context)
    return None if data is None else _service.handle(data)
