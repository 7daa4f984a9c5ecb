"""Hooks: the container trains, and the user's own code changes a part of it.

``read_fn(directory, content_type)``
    reads a channel; returns features and label, or features, label and weight
``objective_fn(predictions, dtrain)``
    returns the gradient and the hessian, in place of the hyperparameter `objective`
``metric_fn(predictions, dtrain)``
    returns a name and a value, or a list of them; logged with the other metrics
``save_fn(booster, directory)``
    writes more files beside the model
"""

from __future__ import annotations

import importlib.util
import logging
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import xgboost as xgb
from scipy import sparse

from mme_training.container.user_code import HOOKS, UserCode
from mme_training.data.channel import read_channel
from mme_training.data.dataset import Dataset
from mme_training.distributed.job import Functions
from mme_training.errors import UserError

_METRIC = re.compile(r"[^\s:]+")  # XGBoost passes on name:value, with blanks between them.

_log = logging.getLogger(__name__)


@cache
def load_hooks(code: UserCode | None) -> dict[str, Callable[..., Any]]:
    """Import the program, once in a process, and return the hooks that it defines, by name.

    Raises:
        UserError: importing it fails.
    """
    if code is None or code.program is None:
        return {}
    sys.path.insert(0, str(code.directory))
    spec = importlib.util.spec_from_file_location(code.program.stem, code.program)
    if spec is None or spec.loader is None:
        raise UserError(f"{code.program.name} is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with explained(code.program.name):
        spec.loader.exec_module(module)
    return {name: getattr(module, name) for name in HOOKS if hasattr(module, name)}


class explained:  # noqa: N801 - used like a function
    """Turns what the user's code raises into a UserError that names it; the log has its stack.

    Also what ``sys.exit`` raises: the job would end there, and without a model seem to succeed.
    """

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, SystemExit):
            raise UserError(f"{self._what} ended the process: sys.exit({error.code!r})") from error
        if isinstance(error, Exception) and not isinstance(error, UserError):
            _log.error("%s failed", self._what, exc_info=error)
            raise UserError(f"{self._what} failed: {type(error).__name__}: {error}") from error


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads one channel, in whichever process it is called; can be pickled."""

    directory: Path
    content_type: str | None
    csv_weights: bool
    code: UserCode | None

    def __call__(self, columns: int | None = None) -> Dataset | None:
        """The channel's rows; None if it has no file. `columns` as for `read_channel`.

        Raises:
            UserError: the data is not right, or ``read_fn`` fails.
        """
        hook = load_hooks(self.code).get("read_fn")
        if hook is None:
            return read_channel(
                self.directory, self.content_type, csv_weights=self.csv_weights, columns=columns
            )
        with explained(f"read_fn of the channel {self.directory.name}"):
            return _dataset(hook(str(self.directory), self.content_type))


def functions(code: UserCode | None) -> Functions:
    """The user's own objective and metric, where there are such."""
    return Functions(
        _explained(code, "objective_fn", _gradients), _explained(code, "metric_fn", _metrics)
    )


def _explained(
    code: UserCode | None, name: str, checked: Callable[[Any, xgb.DMatrix], Any]
) -> Callable[..., Any] | None:
    hook = load_hooks(code).get(name)
    if hook is None:
        return None

    def call(predictions: Any, matrix: xgb.DMatrix) -> Any:
        with explained(name):
            return checked(hook(predictions, matrix), matrix)

    return call


def _gradients(result: Any, matrix: xgb.DMatrix) -> Any:
    """What an objective returned, if it is a gradient and a hessian of each row."""
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise UserError(f"objective_fn must return gradient and hessian, not {_kind(result)}")
    for values in result:
        size = int(np.size(values))
        if not size or size % matrix.num_row():
            raise UserError(
                f"objective_fn returned {size} values for {matrix.num_row()} rows: gradient and "
                "hessian have one for each row, or one for each row and output"
            )
    return result


def _metrics(result: Any, matrix: xgb.DMatrix) -> list[tuple[str, float]]:
    """What a metric returned, if it is names and values."""
    pairs = result if isinstance(result, list) else [result]
    for pair in pairs:
        named = isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str)
        value = np.asarray(pair[1] if named else None)
        if value.ndim or value.dtype.kind not in "fiub":
            raise UserError(
                f"metric_fn must return a name and a number, or a list of them, not {_kind(pair)}"
            )
        if not _METRIC.fullmatch(pair[0]):
            raise UserError(f"metric_fn: a metric's name has no blank and no colon: {pair[0]!r}")
    return [(name, float(value)) for name, value in pairs]


def _dataset(result: Any) -> Dataset:
    """What ``read_fn`` returned, if it is rows."""
    if not isinstance(result, tuple | list) or len(result) not in (2, 3):
        raise UserError(
            "read_fn must return features and label, or features, label and weight, "
            f"not {_kind(result)}"
        )
    features, label, *rest = result
    shape: tuple[int, ...] = getattr(features, "shape", ())
    if len(shape) != 2 or not all(shape):
        raise UserError(
            "read_fn must return features as an array, a CSR matrix or a frame of rows and "
            f"columns, not {_kind(features)}"
        )
    if sparse.issparse(features):
        features = features.tocsr()
    weight = np.asarray(rest[0], np.float32) if rest and rest[0] is not None else None
    dataset = Dataset(features, np.asarray(label, np.float32), weight)
    for what, values in (("label", dataset.label), ("weight", dataset.weight)):
        if values is not None and values.shape[:1] != shape[:1]:
            raise UserError(
                f"read_fn returned {shape[0]} rows of features, and a {what} of the shape "
                f"{values.shape}"
            )
    return dataset


def _kind(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"{type(value).__name__} of shape {shape}"
