"""How a step, or the whole training, ended, in a form that travels between processes."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import xgboost as xgb

from mme_training.errors import AlgorithmError, TrainingError, UserError

T = TypeVar("T")

# XGBoost names the source that gives up when the connection to another worker breaks.
_COLLECTIVE = re.compile(r"src/collective/\w+\.cc")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why it ended without success."""

    reason: str
    user: bool = False
    """Whether the user can mend it."""
    elsewhere: bool = False
    """Whether it is only the echo of another worker's failure."""

    def error(self) -> TrainingError:
        """The exception that says so."""
        return (UserError if self.user else AlgorithmError)(self.reason)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How training ended for all hosts: well if there is no failure."""

    failure: Failure | None = None


def attempt(host: str, step: Callable[..., T], *arguments: Any) -> T | Failure:
    """What `step` returns, or why it fails, with the name of the `host` on which it did."""
    try:
        return step(*arguments)
    except TrainingError as error:
        elsewhere = isinstance(error.__cause__, xgb.core.XGBoostError) and bool(
            _COLLECTIVE.search(str(error.__cause__))
        )
        return Failure(f"{host}: {error}", isinstance(error, UserError), elsewhere)
    except xgb.core.XGBoostError as error:
        elsewhere = bool(_COLLECTIVE.search(str(error)))
        return Failure(f"{host}: XGBoost failed: {str(error).splitlines()[0]}", elsewhere=elsewhere)
    except MemoryError:
        return Failure(f"{host}: there was not enough memory: use an instance with more")
    except Exception as error:
        _log.exception("%s failed", host)
        return Failure(f"{host}: {type(error).__name__}: {error}")


def lost(host: str, detail: str = "") -> Failure:
    """The host that is no longer there."""
    return Failure(
        f"{host} was lost during training{detail}: its log says why, if it could; a process that "
        "ends without a word was often killed for want of memory"
    )
