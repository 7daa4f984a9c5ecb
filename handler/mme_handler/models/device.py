"""Where to predict: the CPU, or a GPU if there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import xgboost as xgb

from mme_handler.errors import ModelLoadError

_DRIVER: Final = Path("/dev/nvidiactl")
"""Is there where NVIDIA's driver has a GPU for this container."""


def resolve(wanted: Literal["auto", "cpu", "cuda"]) -> Literal["cpu", "cuda"]:
    """The device that `wanted` means here.

    Raises:
        ModelLoadError: a GPU is wanted, and there is none or this XGBoost cannot use it.
    """
    if wanted == "cpu":
        return "cpu"
    built, present = bool(xgb.build_info().get("USE_CUDA")), _DRIVER.exists()
    if built and present:
        return "cuda"
    if wanted == "auto":
        return "cpu"
    why = "there is no GPU" if built else "this XGBoost is built without CUDA"
    raise ModelLoadError(f"device cuda is wanted, and {why}: set device to auto or cpu")
