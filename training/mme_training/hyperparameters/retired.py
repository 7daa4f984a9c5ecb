"""What AWS's image took and this XGBoost has dropped, and what becomes of it here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Retired:
    """A hyperparameter, or one value of it: replaced, ignored with a warning, or refused."""

    why: str
    """Goes on after the name."""
    successor: Mapping[str, str] = field(default_factory=dict)
    """What it is replaced by; if there is none, it is ignored, unless it is refused."""
    refused: bool = False

    @property
    def treatment(self) -> str:
        """In a word or two."""
        if self.refused:
            return "refused"
        return "replaced" if self.successor else "ignored, with a warning"


NAMES: Final = {
    "sketch_eps": Retired("is gone: `max_bin` says how finely columns are binned"),
    "dsplit": Retired("is gone: rows are split among instances as the channel is"),
    "predictor": Retired("is gone: `device` decides"),
    "deterministic_histogram": Retired("is gone: histograms always are"),
    "single_precision_histogram": Retired("is gone: histograms are as XGBoost makes them"),
    "prob_buffer_row": Retired("is gone"),
    "lambda_bias": Retired("is gone: the bias is not regularized"),
    "enable_categorical": Retired("has no effect: the columns' types in the data decide"),
    "gpu_id": Retired("is gone: use `device`, as in cuda:0", refused=True),
}
"""By the hyperparameter's name."""

VALUES: Final = {
    ("tree_method", "gpu_hist"): Retired(
        "is now tree_method `hist` and device `cuda`", {"tree_method": "hist", "device": "cuda"}
    ),
    ("objective", "reg:linear"): Retired(
        "is now objective `reg:squarederror`", {"objective": "reg:squarederror"}
    ),
    ("objective", "aft_loss_distribution"): Retired(
        "never was an objective: use `survival:aft`", refused=True
    ),
    ("updater", "distcol"): Retired("is gone: use tree_method `hist`", refused=True),
    ("updater", "grow_skmaker"): Retired("is gone: use tree_method `approx`", refused=True),
}
"""By the hyperparameter's name and one value, or one item of a list."""
