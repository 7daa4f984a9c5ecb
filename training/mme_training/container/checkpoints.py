"""Checkpoints of a training job: what a spot instance that is taken away leaves behind.

SageMaker copies the directory to S3 while the job runs, and back when it starts again.
https://docs.aws.amazon.com/sagemaker/latest/dg/model-checkpoints.html
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import xgboost as xgb

from mme_handler.errors import ModelLoadError
from mme_handler.models.booster import load_booster
from mme_training.errors import UserError

NAME: Final = "xgboost-checkpoint"
KEPT: Final = 5

# Of a file that is being written SageMaker copies nothing, by this ending; while it copies a file,
# and once it has, it puts marks beside it.
_PARTIAL: Final = ".sagemaker-ignore"
_UPLOADING: Final = ".sagemaker-uploading"
_UPLOADED: Final = ".sagemaker-uploaded"

_CHECKPOINT = re.compile(rf"{NAME}\.(\d+)")

_log = logging.getLogger(__name__)


class SaveCheckpoint(xgb.callback.TrainingCallback):
    """Writes the booster to ``xgboost-checkpoint.<round>`` after each round; keeps five of them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def after_iteration(self, model: xgb.Booster, epoch: int, evals_log: Any) -> bool:
        """Save, and remove what is older than the last five."""
        save(model, self._directory / f"{NAME}.{model.num_boosted_rounds() - 1}")
        for _, path in _checkpoints(self._directory)[:-KEPT]:
            marks = [path.with_name(path.name + ending) for ending in (_UPLOADING, _UPLOADED)]
            if marks[0].exists() and not marks[1].exists():
                continue  # SageMaker is reading it: a later round removes it.
            path.unlink(missing_ok=True)
        return False


class SaveSoFar(xgb.callback.TrainingCallback):
    """Keeps the best model so far at `path`, in case the job is killed within a long round.

    Rounds of a second or so end before SIGKILL follows SIGTERM; for them nothing need be saved
    before the end, and so this waits `seconds` between two times.
    """

    def __init__(self, path: Path, clock: Callable[[], float], seconds: float = 30.0) -> None:
        self._path = path
        self._clock = clock
        self._seconds = seconds
        self._saved = clock()

    def after_iteration(self, model: xgb.Booster, epoch: int, evals_log: Any) -> bool:
        """Save, if it is time."""
        if self._clock() - self._saved >= self._seconds:
            best = model.attr("best_iteration")
            save(model if best is None else model[: int(best) + 1], self._path)
            self._saved = self._clock()
        return False


def save(booster: xgb.Booster, path: Path) -> None:
    """Write `booster` as UBJSON to `path`, which is whole whenever it is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + _PARTIAL)
    partial.write_bytes(booster.save_raw("ubj"))
    partial.replace(path)


def load_last(directory: Path | None, columns: int) -> xgb.Booster | None:
    """The booster of the newest checkpoint that can be read; None where there is none.

    Args:
        directory: where they are; None means that no checkpoints are kept.
        columns: how many features the training has.

    Raises:
        UserError: the checkpoint is of a training with other features.
    """
    found = _checkpoints(directory) if directory and directory.is_dir() else []
    for _, path in reversed(found):
        try:
            loaded = load_booster(path)
        except ModelLoadError as error:
            _log.warning("%s is passed over: %s", path.name, error)
            continue
        if loaded.info.features != columns:
            raise UserError(
                f"{path} is of a training with {loaded.info.features} features, this one has "
                f"{columns}: give the job a checkpoint location of its own"
            )
        # The one that predicts has one thread; this one trains.
        booster = xgb.Booster(model_file=bytearray(path.read_bytes()))
        _log.info("%s: goes on after round %d", path, loaded.info.rounds - 1)
        return booster
    return None


def _checkpoints(directory: Path) -> list[tuple[int, Path]]:
    """Those in `directory`, the oldest first."""
    named = ((_CHECKPOINT.fullmatch(path.name), path) for path in directory.iterdir())
    return sorted((int(match[1]), path) for match, path in named if match)
