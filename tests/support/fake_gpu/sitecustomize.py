"""Makes XGBoost without CUDA look like one with it, in the server's processes.

It says that it is built with CUDA, fails as the file ``FAKE_GPUS`` tells it to, and writes down
which process predicted with which GPU in sight. It predicts on the CPU, since XGBoost does so by
itself where it finds no GPU.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def _pretend(file: Path) -> None:
    import xgboost

    real = xgboost.Booster.predict

    def predict(booster: xgboost.Booster, *args: Any, **kwargs: Any) -> Any:
        with file.with_name("calls").open("a") as calls:
            seen = os.environ.get("CUDA_VISIBLE_DEVICES")
            calls.write(json.dumps({"pid": os.getpid(), "sees": seen}) + "\n")
        if text := json.loads(file.read_text()).get("fails"):
            raise xgboost.core.XGBoostError(text)
        return real(booster, *args, **kwargs)

    xgboost.build_info = lambda: {"USE_CUDA": True, "CUDA_VERSION": [12, 9]}
    xgboost.Booster.predict = predict


if "FAKE_GPUS" in os.environ and {"-c", "mme_handler.workers.zygote"} & set(sys.orig_argv):
    _pretend(Path(os.environ["FAKE_GPUS"]))
