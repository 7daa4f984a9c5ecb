"""Several boosters that answer as one: the folds of a cross-validation, for example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mme_handler.errors import ModelLoadError
from mme_handler.models.outputs import Kind
from mme_handler.models.predictor import Predictor

_LABELS: Final = ("multi:softmax", "binary:hinge")
"""Objectives whose prediction is a label, of which there is no mean."""


class Ensemble:
    """The mean of the members' predictions; of labels the one that most members give.

    Raises:
        ModelLoadError: the members take different features, or predict different things.
    """

    def __init__(self, members: Sequence[Predictor]) -> None:
        first = members[0]
        for name in ("features", "objective", "classes", "columns", "categories"):
            values = [getattr(member, name) for member in members]
            if any(value != values[0] for value in values):
                raise ModelLoadError(
                    f"the ensemble's model files do not fit together: their {name} differ"
                )
        self._members = tuple(members)
        self.groups = first.groups
        self.features, self.columns = first.features, first.columns
        self.objective, self.classes = first.objective, first.classes

    @property
    def trees(self) -> int:
        """How many trees all members have together."""
        return sum(member.trees for member in self._members)

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Shapes and errors as `Predictor.predict`; of equally many votes the lower label wins."""
        predictions = np.stack([member.predict(features) for member in self._members])
        if self.objective not in _LABELS:
            mean: NDArray[np.float32] = predictions.mean(axis=0)
            return mean
        labels = np.unique(predictions)
        votes = np.stack([(predictions == label).sum(axis=0) for label in labels])
        chosen: NDArray[np.float32] = labels[votes.argmax(axis=0)]
        return chosen

    def explain(self, features: NDArray[np.float32], kind: Kind) -> NDArray[np.float32]:
        """The mean of the members' too; leaf indices stand side by side, member by member."""
        parts = [member.explain(features, kind) for member in self._members]
        if kind == "leaf":
            return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)
        mean: NDArray[np.float32] = np.stack(parts).mean(axis=0)
        return mean

    def warm(self) -> None:
        """Warm each member."""
        for member in self._members:
            member.warm()
