"""What the hyperparameters of a training come to, once they are known to be right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Checked hyperparameters: those of the booster, and those of the training around it."""

    booster: Mapping[str, Any]
    """What ``xgb.train`` takes as `params`, under XGBoost's own names, but for `eval_metric`."""
    num_round: int
    early_stopping_rounds: int | None = None
    eval_metric: tuple[str, ...] = ()
    """Metrics to log, in the order given, without repeats; the last one stops early."""
    csv_weights: bool = False
    kfold: int | None = None
    num_cv_round: int = 1
    save_model_on_termination: bool = True
    """Whether a job that is stopped leaves the best model so far."""
    use_dask_gpu_training: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Those that only the user's script knows; empty but in script mode."""
