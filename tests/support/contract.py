"""What the tests of docs/handler.md share: rows, and how to ask a server of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import xgboost as xgb

from support.models import Model, csv_of, make_rows
from support.serving import Server

CSV, JSON, NPY = "text/csv", "application/json", "application/x-npy"
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
ROWS = make_rows(12, seed=3)
BODY = csv_of(ROWS)


def ask(server: Server, model: Model, body: bytes | str = BODY, kind: str = CSV, **headers: str):
    headers.setdefault("accept", CSV)
    return server.invoke(model.name, body, kind, headers)


def scores(answer: Any) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.array([np.float32(line) for line in answer.text.splitlines()], np.float32)


def refusal(server: Server, model: Model) -> str:
    """Why a model cannot be loaded, as the log has it."""
    assert server.load(model.name, model.path)[0] == 500
    return server.wait_log(event="load failed", model=model.name)["reason"]


def raw(booster: xgb.Booster) -> bytes:
    return bytes(booster.save_raw("ubj"))
