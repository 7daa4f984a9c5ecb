"""Answers with a price to the nearest hundred, its currency and its band."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from mme_handler import predict_fn as default_predict_fn
from mme_handler.codecs import choose_accept
from mme_handler.errors import NotAcceptableError

SETTINGS = json.loads(Path(__file__).with_name("bands.json").read_text())


def predict_fn(data: Any, model: Any) -> Any:
    """Predict, but no price below nothing, and none more exact than it can be."""
    return np.maximum(np.round(default_predict_fn(data, model), -2), 0)


def output_fn(prediction: Any, accept: str) -> tuple[str, str]:
    """Write the prices as JSON."""
    if choose_accept(accept) != "application/json":
        raise NotAcceptableError("this model answers in application/json only")
    answers = [
        {"price": price, "currency": SETTINGS["currency"], "band": band(price)}
        for price in map(int, prediction)
    ]
    return json.dumps({"predictions": answers}), "application/json"


def band(price: int) -> str:
    """The first band whose limit is above the price; the last has none."""
    limits = SETTINGS["bands"]
    return str(next(each["name"] for each in limits if price < (each["below"] or math.inf)))
