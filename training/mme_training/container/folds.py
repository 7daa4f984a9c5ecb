"""``_kfold``: one booster for each fold, served together as an ensemble."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray
from scipy.special import expit, softmax

from mme_training.data.dataset import Dataset
from mme_training.errors import UserError
from mme_training.fit import TRAIN, VALIDATION, Fitted
from mme_training.hyperparameters.values import Hyperparameters

PREDICTIONS: Final = "predictions.csv"

FitFold = Callable[[Dataset, Dataset, int], Fitted]
"""Trains a fold, of some index, on the first rows and stops by the second."""

_log = logging.getLogger(__name__)


def fit_folds(
    hyperparameters: Hyperparameters,
    data: Dataset,
    fit_fold: FitFold,
    predictions: Path,
    asked: threading.Event,
) -> list[xgb.Booster]:
    """Train `kfold` boosters, `num_cv_round` times, each without the fold that it is judged by.

    Prints the mean of the metrics after each round of cross-validation, in the format of the
    others, and writes to `predictions` what each row was predicted as by the boosters that had not
    seen it: its label, for a classification the mean probability, and the prediction.

    The folds are drawn from the hyperparameter ``seed``, so a job that starts again finds its own.
    For a classification they are stratified, if there are enough rows of some class.

    Once `asked` is set training ends: with the folds that are done, or else with the one begun;
    nothing is then written.

    Raises:
        UserError: there are fewer rows than folds, the data has queries, or XGBoost refuses it.
    """
    kfold = int(hyperparameters.kfold or 0)
    if data.rows < kfold:
        raise UserError(f"_kfold is {kfold}, and there are only {data.rows} rows")
    if data.qid is not None or data.label.ndim > 1:
        raise UserError("_kfold cannot divide rows that belong to queries, or have several labels")
    recorder = _Predictions(data.label, _classifies(hyperparameters))
    fitted: list[Fitted] = []
    for index, (train, validation) in enumerate(_folds(hyperparameters, data, kfold)):
        _log.info("Train cross validation fold %d", index % kfold + 1)
        held_out = data.take(validation)
        fitted.append(fit_fold(data.take(train), held_out, index))
        if asked.is_set():
            _log.info("Stopped in fold %d", index % kfold + 1)
            # Served together, one that was interrupted would weigh as much as the others.
            return [each.booster for each in fitted[:-1] or fitted]
        recorder.add(validation, _predict(hyperparameters, fitted[-1].booster, held_out))
        if (index + 1) % kfold == 0:
            _log.info("The metrics of round %d cross validation", (index + 1) // kfold)
            _print_means(hyperparameters.num_round, fitted[-kfold:])
    if hyperparameters.num_cv_round > 1:
        _log.info("The overall metrics of %d-round cross validation", hyperparameters.num_cv_round)
        _print_means(hyperparameters.num_round, fitted)
    recorder.write(predictions)
    return [each.booster for each in fitted]


def _folds(hyperparameters: Hyperparameters, data: Dataset, kfold: int) -> Any:
    from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold  # slow to import

    kind = RepeatedStratifiedKFold if _can_stratify(hyperparameters, data, kfold) else RepeatedKFold
    repeated = kind(
        n_splits=kfold,
        n_repeats=hyperparameters.num_cv_round,
        random_state=int(hyperparameters.booster.get("seed", 0)) & 0x7FFFFFFF,
    )
    return repeated.split(np.arange(data.rows), data.label)


def _classifies(hyperparameters: Hyperparameters) -> bool:
    return str(hyperparameters.booster.get("objective", "")).startswith(("binary:", "multi:"))


def _can_stratify(hyperparameters: Hyperparameters, data: Dataset, kfold: int) -> bool:
    if not _classifies(hyperparameters):
        return False
    classes, counts = np.unique(data.label, return_counts=True)
    # A label of binary:logistic may be a share.
    return bool((classes == np.round(classes)).all() and counts.max() >= kfold)


def _predict(hyperparameters: Hyperparameters, booster: xgb.Booster, data: Dataset) -> Any:
    """What a booster says; for a classification probabilities, whatever its objective says."""
    objective, matrix = hyperparameters.booster.get("objective"), data.matrix()
    if objective == "multi:softmax":
        return softmax(booster.predict(matrix, output_margin=True), axis=1)
    predicted = booster.predict(matrix)
    return expit(predicted) if objective == "binary:logitraw" else predicted


def _print_means(num_round: int, fitted: Sequence[Fitted]) -> None:
    line = f"[{num_round}]"
    for metric in fitted[0].scores.get(VALIDATION, {}):
        for data in (TRAIN, VALIDATION):
            mean = np.mean([each.scores[data][metric] for each in fitted if each.scores])
            line += f"\t{data}-{metric}:{mean:.5f}"
    print(line, flush=True)  # noqa: T201 - what SageMaker's tuning reads


class _Predictions:
    """What each row was predicted as, once for each round of cross-validation."""

    def __init__(self, label: NDArray[np.float32], classifies: bool) -> None:
        self._label = label
        self._classifies = classifies
        self._sum: NDArray[np.float64] = np.zeros((len(label), 1))
        self._votes: list[dict[int, int]] = [{} for _ in label] if classifies else []
        self._count = np.zeros((len(label), 1))

    def add(self, rows: NDArray[np.int64], predicted: NDArray[np.float32]) -> None:
        """Take in the predictions of `rows` by a booster that has not seen them."""
        self._count[rows] += 1
        if not self._classifies:
            outputs = predicted.reshape(len(rows), -1)
            if self._sum.shape[1] != outputs.shape[1]:  # Several quantiles, by the first of folds.
                self._sum = np.zeros((len(self._sum), outputs.shape[1]))
            self._sum[rows] += outputs
            return
        if predicted.ndim > 1:
            classes = predicted.argmax(axis=1)
            self._sum[rows, 0] += predicted.max(axis=1)
        else:
            classes = (predicted > 0.5).astype(int)
            self._sum[rows, 0] += predicted
        for row, chosen in zip(rows, classes, strict=True):
            votes = self._votes[row]
            votes[int(chosen)] = votes.get(int(chosen), 0) + 1

    def write(self, path: Path) -> None:
        """Write a line for each row, in the order of the data."""
        columns: list[NDArray[Any]] = [self._label, self._sum / np.maximum(self._count, 1)]
        if self._classifies:
            # The smaller of two classes with as many votes, as scipy's mode has it.
            chosen = [max(sorted(votes), key=votes.__getitem__, default=0) for votes in self._votes]
            columns.append(np.array(chosen))
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savetxt(path, np.column_stack(columns), delimiter=",", fmt="%f")
