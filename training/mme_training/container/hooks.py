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
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import xgboost as xgb

from mme_training.container.user_code import HOOKS, UserCode
from mme_training.data.channel import read_channel
from mme_training.data.dataset import Dataset
from mme_training.distributed.job import Functions
from mme_training.errors import UserError

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
    """Turns what the user's code raises into a UserError that names it; the log has its stack."""

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
            return _dataset(*hook(str(self.directory), self.content_type))


def functions(code: UserCode | None) -> Functions:
    """The user's own objective and metric, where there are such."""
    return Functions(_explained(code, "objective_fn"), _explained(code, "metric_fn"))


def _explained(code: UserCode | None, name: str) -> Callable[..., Any] | None:
    hook = load_hooks(code).get(name)
    if hook is None:
        return None

    def call(predictions: Any, matrix: xgb.DMatrix) -> Any:
        with explained(name):
            return hook(predictions, matrix)

    return call


def _dataset(features: Any, label: Any, weight: Any = None) -> Dataset:
    def floats(values: Any) -> Any:
        return None if values is None else np.asarray(values, dtype=np.float32)

    return Dataset(features, floats(label), floats(weight))
