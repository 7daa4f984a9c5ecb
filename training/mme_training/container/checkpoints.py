"""Checkpoints of a training job: what a spot instance that is taken away leaves behind.

SageMaker copies the directory to S3 while the job runs, and back when it starts again.
https://docs.aws.amazon.com/sagemaker/latest/dg/model-checkpoints.html
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import xgboost as xgb

from mme_handler.errors import ModelLoadError
from mme_handler.models.booster import ModelInfo, load_booster
from mme_training.errors import AlgorithmError, UserError
from mme_training.hyperparameters.combinations import objective_of

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
            save(_best(model), self._path)
            self._saved = self._clock()
        return False


def save(booster: xgb.Booster, path: Path) -> None:
    """Write `booster` as UBJSON to `path`, which is whole whenever it is there.

    Raises:
        AlgorithmError: it cannot be written; nothing is left of what was.
    """
    # Hidden, so that what a kill leaves of it in ``model`` is not taken for a model.
    partial = path.with_name(f".{path.name}{_PARTIAL}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(booster.save_raw("ubj"))
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise AlgorithmError(f"{path} cannot be written: {error.strerror or error}") from error


def load_last(
    directory: Path | None, columns: int, parameters: Mapping[str, Any] | None = None
) -> xgb.Booster | None:
    """The booster of the newest checkpoint that can be read; None where there is none.

    Args:
        directory: where they are; None means that no checkpoints are kept.
        columns: how many features the training has.
        parameters: those of the booster; None: whatever they were.

    Raises:
        UserError: the checkpoint is of a training with other features, or of another kind.
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
        for what, there, here in _kinds(loaded.info, parameters):
            if there != here:
                raise UserError(
                    f"{path} is of a training with {what} {there}, this one has {here}: give the "
                    "job a checkpoint location of its own"
                )
        # The one that predicts has one thread; this one trains.
        booster = xgb.Booster(model_file=bytearray(path.read_bytes()))
        _log.info("%s: goes on after round %d", path, loaded.info.rounds - 1)
        return booster
    return None


def _best(model: xgb.Booster) -> xgb.Booster:
    """The rounds of `model` up to the best one, as far as that is known."""
    best = model.attr("best_iteration")
    if best is None:
        return model
    try:
        return model[: int(best) + 1]
    except xgb.core.XGBoostError:  # gblinear has no rounds that could be taken away.
        return model


def _kinds(info: ModelInfo, parameters: Mapping[str, Any] | None) -> list[tuple[str, Any, Any]]:
    """What two boosters must have in common if one goes on from the other."""
    if parameters is None:
        return []
    return [
        ("booster", info.booster, parameters.get("booster", "gbtree")),
        ("objective", info.objective, objective_of(parameters)),
        *(
            [("num_class", info.classes, parameters["num_class"])]
            if "num_class" in parameters
            else []
        ),
    ]


def _checkpoints(directory: Path) -> list[tuple[int, Path]]:
    """Those in `directory`, the oldest first."""
    named = ((_CHECKPOINT.fullmatch(path.name), path) for path in directory.iterdir())
    return sorted((int(match[1]), path) for match, path in named if match and path.is_file())
