"""Whether a model can be trained where its hyperparameters want it to be."""

from __future__ import annotations

from mme_handler.errors import ModelLoadError
from mme_handler.models.device import resolve
from mme_training.errors import UserError
from mme_training.hyperparameters.values import Hyperparameters


def check_device(hyperparameters: Hyperparameters) -> None:
    """Refuse a GPU where there is none: XGBoost would warn, and train on the CPU.

    Raises:
        UserError: `device` asks for a GPU that is not there, or for CUDA that XGBoost lacks.
    """
    device = str(hyperparameters.booster.get("device", "cpu"))
    if device.partition(":")[0] not in ("cuda", "gpu"):
        return
    try:
        resolve("cuda")
    except ModelLoadError as error:
        raise UserError(f"hyperparameter device: {error}") from error
