"""Load a model that was pickled, or saved by joblib.

Opening a pickle runs whatever code it holds, so only a process that serves this one model, and
only where the operator has allowed pickles, may call this.
"""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path
from typing import Any

import xgboost as xgb

from mme_handler.errors import ModelLoadError, OutOfMemoryError, is_out_of_memory
from mme_handler.models.formats import RE_SAVE


def load_pickle(path: Path) -> xgb.Booster:
    """Return the booster pickled at `path`: a `Booster`, or that of a scikit-learn wrapper.

    Raises:
        ModelLoadError: it cannot be opened, or holds something else.
        OutOfMemoryError: there is no room for it.
    """
    try:
        model = _open(path)
        # XGBModel is the base of every scikit-learn wrapper; one not yet fitted has no booster.
        booster = model.get_booster() if isinstance(model, xgb.XGBModel) else model
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemoryError(
                f"There is not enough memory to load the model file {path.name!r}."
            ) from error
        raise ModelLoadError(
            f"The pickle {path.name!r} cannot be opened: {_reason(error)}. It needs the modules "
            "it was made with, and as a rule the same version of XGBoost, which here is "
            f"{xgb.__version__}. In the place where it was made, {RE_SAVE}: that file needs "
            "neither."
        ) from error
    if not isinstance(booster, xgb.Booster):
        kind = type(booster)
        raise ModelLoadError(
            f"The pickle {path.name!r} holds a {kind.__module__}.{kind.__qualname__}, and neither "
            "an XGBoost Booster nor one of XGBoost's scikit-learn models. If a model of XGBoost "
            f"is inside it, {RE_SAVE}."
        )
    return booster


def _open(path: Path) -> Any:
    """Unpickle the file; joblib, where there is one, opens plain pickles as well as its own."""
    if importlib.util.find_spec("joblib"):
        import joblib  # type: ignore[import-untyped, unused-ignore]

        return joblib.load(path)
    with path.open("rb") as file:
        # To run the pickle's code is what MME_ALLOW_PICKLE asks for; nothing can make it safe.
        return pickle.load(file)  # noqa: S301


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    name = type(error).__name__
    return f"{name}: {lines[0].strip().rstrip('.')}" if lines else name
