"""What a model can answer with: its prediction, and what AWS calls selectable inference.

The names from ``predicted_label`` to ``predicted_score``, and what each is for each objective, are
those of AWS's XGBoost image; one that does not apply to the model's objective is NaN. The others
are XGBoost's own kinds of prediction.

(https://docs.aws.amazon.com/sagemaker/latest/dg/xgboost.html, "Use SageMaker AI XGBoost";
``SAGEMAKER_INFERENCE_OUTPUT``)
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mme_handler.codecs.output import SCORE, Output
from mme_handler.errors import BadRequestError, RequestTooLargeError

Kind = Literal["margin", "leaf", "contributions", "interactions"]
Keys = tuple[str, ...]
Array = NDArray[Any]

KINDS: Final[tuple[Kind, ...]] = ("margin", "leaf", "contributions", "interactions")
DEFAULT: Final[Keys] = (SCORE,)
ATTRIBUTES_HEADER: Final = "x-amzn-sagemaker-custom-attributes"
BIAS: Final = "bias"

# Trees that SHAP values may walk for one request: at some 4 microseconds a tree, half a minute.
_MOST_WORK: Final = 8_000_000


class Model(Protocol):
    """What is asked of a predictor."""

    objective: str
    classes: int
    """2 for ``binary:`` objectives, 0 where there are none."""
    columns: tuple[str, ...]
    """The features' names; f0, f1, ... for a model without."""
    groups: int
    """How many values a prediction of one row has."""

    @property
    def trees(self) -> int:
        """How many trees it has; 1 for a linear model."""

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """The prediction of `Booster.predict`."""

    def explain(self, features: NDArray[np.float32], kind: Kind) -> NDArray[np.float32]:
        """Another kind of prediction."""


def parse(text: str) -> Keys:
    """The names of outputs in ``"predicted_label, probability"``.

    Raises:
        ValueError: names the one that is unknown, and the nearest known.
    """
    keys = tuple(key for key in text.replace(" ", "").lower().split(",") if key)
    for key in keys or ("",):
        if key not in _KNOWN:
            near = difflib.get_close_matches(key, _KNOWN, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_KNOWN)}"
            raise ValueError(f"unknown output {key!r:.80}: {hint}")
    return tuple(dict.fromkeys(keys))


def attribute(attributes: str, name: str) -> str | None:
    """The value of one of a request's custom attributes, ``name=value`` between semicolons.

    The header belongs to whoever sends it: what has another form is the business of the model's
    own code. None if there is no such attribute.
    """
    for each in attributes.split(";"):
        key, equals, value = each.partition("=")
        if equals and key.strip().lower() == name:
            return value.strip()
    return None


def requested(attributes: str) -> Keys | None:
    """The outputs that a request asks for in its custom attributes: ``output=margin,leaf``.

    None if none of them is ``output``.

    Raises:
        BadRequestError: an output is unknown.
    """
    value = attribute(attributes, "output")
    if value is None:
        return None
    try:
        return parse(value)
    except ValueError as error:
        raise BadRequestError(f"custom attributes: {error}") from None


def compute(model: Model, features: NDArray[np.float32], keys: Keys) -> list[Output]:
    """The outputs `keys` for the rows of `features`, float32 (rows, columns).

    Raises:
        BadRequestError: the model has no such output.
    """
    outputs = []
    raw: Array | None = None
    for key in keys:
        if key in KINDS:
            outputs.append(_explained(model, features, key))
            continue
        if raw is None:
            raw = model.predict(features)
        values = raw if key == SCORE else _selected(key, model, raw)
        outputs.append(Output(key, np.ascontiguousarray(values)))
    return outputs


def check_size(model: Model, rows: int, keys: Keys, most_bytes: int) -> None:
    """Refuse, before anything is computed, what cannot be sent or would take minutes.

    Args:
        model: the predictor.
        rows: how many rows are to be answered.
        keys: with what.
        most_bytes: the largest answer; each value in it takes at least two bytes.

    Raises:
        RequestTooLargeError: says how many rows are possible.
    """
    values = sum(_values_of(key, model) for key in keys)
    most = most_bytes // 2 // values
    if work := sum(_work_of(key, model) for key in keys):
        most = min(most, _MOST_WORK // work)
    if rows > most:
        remedy = f"send at most {most:,} rows" if most else "even one row is"
        raise RequestTooLargeError(
            f"{rows:,} rows with {values:,} values each ({', '.join(keys)}) are too much for one "
            f"answer: {remedy}"
        )


def _values_of(key: str, model: Model) -> int:
    """How many values the output has for a row."""
    columns = len(model.columns) + 1
    per_group = {"contributions": columns, "interactions": columns**2}.get(key, 1)
    if key == "leaf":
        return model.trees
    if key in ("predicted_label", "probability", "raw_score"):
        return 1
    if key in ("labels", "probabilities", "raw_scores"):
        return max(model.classes, model.groups)
    return model.groups * per_group


def _work_of(key: str, model: Model) -> int:
    """Trees that XGBoost walks for one row, in the two outputs that are slow."""
    if key == "contributions":
        return model.trees
    return model.trees * (len(model.columns) + 1) if key == "interactions" else 0


def _explained(model: Model, features: NDArray[np.float32], kind: Any) -> Output:
    values = np.ascontiguousarray(model.explain(features, kind))
    if kind == "leaf":
        return Output(kind, values.astype(np.int64))
    if kind == "margin":
        return Output(kind, values)
    return Output(kind, values, (*model.columns, BIAS), 2 if kind == "interactions" else 1)


def _selected(key: str, model: Model, raw: Array) -> Array:
    """One of AWS's outputs, of the raw prediction (rows,) or (rows, classes)."""
    function = _SELECTABLE[key].get(_family(model.objective))
    if function is None:
        return np.full(len(raw), np.nan, np.float32)
    if model.objective == _SOFTPROB:
        raw = raw.reshape(len(raw), -1)  # XGBoost leaves out an axis of one class
    return function(raw, model.classes)


def _family(objective: str) -> str:
    return objective if objective.startswith(("binary:", "multi:")) else "other"


def _complement(raw: Array, _: int) -> Array:
    # The subtraction in float64, as AWS's image does it, and what comes of it as float32.
    return np.stack([(1.0 - raw.astype(np.float64)).astype(np.float32), raw], axis=1)


def _labels(raw: Array, classes: int) -> Array:
    return np.tile(np.arange(classes, dtype=np.int64), (len(raw), 1))


def _itself(raw: Array, _: int) -> Array:
    return raw


def _as_label(raw: Array, _: int) -> Array:
    return raw.astype(np.int64)


def _best(raw: Array, _: int) -> Array:
    best: Array = raw.max(axis=1)
    return best


_Function = Callable[[Array, int], Array]
_HINGE, _LOGISTIC, _LOGITRAW = "binary:hinge", "binary:logistic", "binary:logitraw"
_SOFTMAX, _SOFTPROB = "multi:softmax", "multi:softprob"

_SELECTABLE: Final[dict[str, dict[str, _Function]]] = {
    "predicted_label": {
        _HINGE: _as_label,
        _LOGISTIC: lambda raw, _: (raw > 0.5).astype(np.int64),
        _LOGITRAW: lambda raw, _: (raw > 0).astype(np.int64),
        _SOFTMAX: _as_label,
        _SOFTPROB: lambda raw, _: raw.argmax(axis=1),
    },
    "labels": dict.fromkeys((_HINGE, _LOGISTIC, _LOGITRAW, _SOFTMAX, _SOFTPROB), _labels),
    "probability": {_LOGISTIC: _itself, _SOFTPROB: _best},
    "probabilities": {_LOGISTIC: _complement, _SOFTPROB: _itself},
    "raw_score": {
        **dict.fromkeys((_HINGE, _LOGISTIC, _LOGITRAW, _SOFTMAX), _itself),
        _SOFTPROB: _best,
    },
    "raw_scores": {
        **dict.fromkeys((_HINGE, _LOGISTIC, _LOGITRAW, _SOFTMAX), _complement),
        _SOFTPROB: _itself,
    },
    "predicted_score": {"other": _itself},
}
_KNOWN: Final = (SCORE, *_SELECTABLE, *KINDS)
