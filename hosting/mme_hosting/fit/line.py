"""The memory of a model by its size: a straight line through what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

_SPREAD_ENOUGH: Final = 0.1  # of the sizes, by their mean: less does not tell a slope


@dataclass(frozen=True, slots=True)
class Line:
    """``fixed + per_byte * size``, in bytes."""

    fixed: float
    per_byte: float
    spread: float
    """Root of the mean square of what a whole measurement was off the line, in bytes."""
    samples: int
    """Models loaded."""

    def at(self, size: int) -> int:
        """Bytes of a model with `size` bytes of model files."""
        return int(self.fixed + self.per_byte * size)


def fit(sizes: Sequence[int], totals: Sequence[tuple[int, float]]) -> Line:
    """The line through sums.

    Args:
        sizes: bytes of the models, in the order in which they were loaded.
        totals: how many were loaded, and the bytes that all of them took together; at least one.
    """
    counts = np.array([count for count, _ in totals], float)
    sums = np.concatenate([[0.0], np.cumsum(np.asarray(sizes, float))])[counts.astype(int)]
    taken = np.array([total for _, total in totals], float)
    mean = float(np.mean(sizes)) or 1.0
    both = np.column_stack([counts, sums / mean])
    fixed, slope = 0.0, -1.0
    if len(totals) > 1 and float(np.std(sizes)) > _SPREAD_ENOUGH * mean:
        fixed, slope = np.linalg.lstsq(both, taken, rcond=None)[0].tolist()
    if min(fixed, slope) < 0:  # nonsense: all of it is by model, or by byte, whichever fits better
        alone = [max(float(taken @ part / max(part @ part, 1e-9)), 0.0) for part in both.T]
        errors = [
            float(np.sum((taken - part * by) ** 2)) for part, by in zip(both.T, alone, strict=True)
        ]
        fixed, slope = (alone[0], 0.0) if errors[0] <= errors[1] else (0.0, alone[1])
    off = taken - both @ np.array([fixed, slope])
    return Line(fixed, slope / mean, float(np.sqrt(np.mean(off**2))), len(sizes))
