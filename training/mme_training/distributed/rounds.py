"""Training within XGBoost's communicator: what one rank does, and what all decide together."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xgboost as xgb
from xgboost import collective

from mme_training.distributed.job import Functions
from mme_training.fit import Fitted, History, fit
from mme_training.hyperparameters.values import Hyperparameters


@dataclass(frozen=True, slots=True)
class Trained:
    """A `Fitted` that can travel: the booster as UBJSON, without what its process made of it."""

    model: bytes
    history: History
    scores: dict[str, dict[str, float]]

    @classmethod
    def of(cls, fitted: Fitted) -> Trained:
        """What `fitted` is without its process."""
        scores = {data: dict(values) for data, values in fitted.scores.items()}
        history = {
            data: {name: [float(value) for value in values] for name, values in metrics.items()}
            for data, metrics in fitted.history.items()
        }
        return cls(bytes(fitted.booster.save_raw("ubj")), history, scores)

    def fitted(self) -> Fitted:
        """The booster and what is known of it."""
        booster = xgb.Booster(model_file=bytearray(self.model))
        return Fitted(booster, self.history, self.scores)


def fit_shard(
    hyperparameters: Hyperparameters,
    training: xgb.DMatrix,
    validation: xgb.DMatrix | None,
    callbacks: Sequence[xgb.callback.TrainingCallback],
    functions: Functions,
    *,
    stop: threading.Event,
    nthread: int,
    resume_from: xgb.Booster | None,
) -> Fitted:
    """Do as `mme_training.fit.fit`, with a part of the rows, in step with all other ranks.

    The communicator is there already. Metrics that XGBoost does not have itself are means of the
    ranks' values.
    """
    return fit(
        hyperparameters,
        training,
        validation,
        nthread=nthread,
        callbacks=[OneForAll(callbacks, stop)],
        resume_from=resume_from,
        objective=functions.objective,
        metric=functions.metric,
        log=True,
    )


class OneForAll(xgb.callback.TrainingCallback):
    """Runs one rank's callbacks, and ends training on all ranks when any rank wants it to end.

    A rank that ended alone would leave the others waiting for it.
    """

    def __init__(
        self, callbacks: Sequence[xgb.callback.TrainingCallback], stop: threading.Event
    ) -> None:
        self._callbacks = callbacks
        self._stop = stop
        self._last = False

    def before_training(self, model: xgb.Booster) -> xgb.Booster:
        """Pass it on."""
        for callback in self._callbacks:
            model = callback.before_training(model)
        return model

    def before_iteration(self, model: xgb.Booster, epoch: int, evals_log: Any) -> bool:
        """Pass it on; the round is trained all the same, and is the last if one says so."""
        said = [one.before_iteration(model, epoch, evals_log) for one in self._callbacks]
        self._last = any(said)
        return False

    def after_iteration(self, model: xgb.Booster, epoch: int, evals_log: Any) -> bool:
        """Pass it on, and decide with all other ranks."""
        said = [one.after_iteration(model, epoch, evals_log) for one in self._callbacks]
        mine = self._last or any(said) or self._stop.is_set()
        return bool(collective.allreduce(np.array([mine], np.int32), collective.Op.MAX)[0])

    def after_training(self, model: xgb.Booster) -> xgb.Booster:
        """Pass it on."""
        for callback in self._callbacks:
            model = callback.after_training(model)
        return model
