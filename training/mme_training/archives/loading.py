"""Load what an archive holds as the server does, in this process, and predict with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from mme_handler.codecs import Schema, text_csv
from mme_handler.errors import ModelLoadError
from mme_handler.models import settings as model_settings
from mme_handler.models.archive import Archive
from mme_handler.models.booster import LoadedBooster, load_booster
from mme_handler.models.ensemble import Ensemble
from mme_handler.models.predictor import Predictor
from mme_handler.models.settings import ModelSettings


@dataclass(frozen=True, slots=True)
class Models:
    """The booster of an archive, or those of its ensemble; no code of the archive is run."""

    settings: ModelSettings
    members: tuple[LoadedBooster, ...]
    predictor: Predictor | Ensemble
    rounds: int
    """How many rounds of the first member predict, from the first round; 0 for all."""

    @property
    def schema(self) -> Schema:
        """The columns that a request must have."""
        info = self.members[0].info
        return Schema(
            info.features, info.feature_names, info.categories or {}, self.settings.missing
        )

    def read(self, body: bytes) -> NDArray[np.float32]:
        """The rows of a text/csv body, float32 (rows, features).

        Raises:
            BadRequestError: they do not fit the model.
        """
        return text_csv.decode(body, self.schema)

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """What `Booster.predict` says; the mean or the vote of an ensemble's members.

        Raises:
            MmeError: the rows do not fit the members of an ensemble.
        """
        if len(self.members) > 1:
            return self.predictor.predict(features)
        booster, info = self.members[0].booster, self.members[0].info
        types = list(info.feature_types or ()) if info.categorical else None
        matrix = xgb.DMatrix(features, feature_types=types, enable_categorical=bool(types))
        values: Any = booster.predict(
            matrix, validate_features=False, iteration_range=(0, self.rounds)
        )
        return np.asarray(values, np.float32)


def load(archive: Archive) -> Models:
    """Load the models of an unpacked archive, with the checks of the server.

    Raises:
        ModelLoadError: the server would refuse them, for this reason.
        OutOfMemoryError: there is no room for them here.
    """
    settings = model_settings.read(archive.directory)
    members = tuple(load_booster(file) for file in archive.ensemble_files())
    rounds = [_rounds(member, settings) for member in members]
    predictors = [Predictor(*each) for each in zip(members, rounds, strict=True)]
    predictor = predictors[0] if len(predictors) == 1 else Ensemble(predictors)
    predictor.warm()
    return Models(settings, members, predictor, rounds[0])


def _rounds(member: LoadedBooster, settings: ModelSettings) -> int:
    if settings.trees == "all":
        return 0
    if member.info.best_iteration is None:
        raise ModelLoadError(
            "the model's settings ask for its best_iteration, and its file has none: "
            "it was trained without early stopping"
        )
    return member.info.best_iteration + 1
