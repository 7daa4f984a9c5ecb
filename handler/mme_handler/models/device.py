"""Where a model predicts: the CPU, or a GPU if there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import xgboost as xgb

from mme_handler.errors import ModelLoadError

Wanted = Literal["auto", "cpu", "cuda"]

_DRIVER: Final = Path("/dev/nvidiactl")
"""Is there where NVIDIA's driver has a GPU for this container."""


def choose(model: Wanted | None, container: Wanted) -> Literal["cpu", "cuda"]:
    """The device of a model whose own settings say `model`.

    `container` is what the server has found out, ``cpu`` or ``cuda``, or ``auto`` if nobody has.

    Raises:
        ModelLoadError: the model wants a GPU, and the container serves on the CPU.
    """
    if container == "cuda":
        return "cpu" if model == "cpu" else "cuda"
    if container == "auto":
        return resolve(model or "auto")
    if model == "cuda":
        resolve("cuda")  # says why there is none
        raise ModelLoadError(
            "device cuda is wanted, and this container serves on the CPU: set device to auto or "
            "cpu, or MME_DEVICE to auto"
        )
    return "cpu"


def resolve(wanted: Wanted) -> Literal["cpu", "cuda"]:
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
