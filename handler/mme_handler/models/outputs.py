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
from mme_handler.codecs.schema import MAX_CELLS
from mme_handler.errors import BadRequestError, RequestTooLargeError

Kind = Literal["margin", "leaf", "contributions", "interactions"]
Keys = tuple[str, ...]
Array = NDArray[Any]

KINDS: Final[tuple[Kind, ...]] = ("margin", "leaf", "contributions", "interactions")
DEFAULT: Final[Keys] = (SCORE,)
ATTRIBUTES_HEADER: Final = "x-amzn-sagemaker-custom-attributes"
BIAS: Final = "bias"


class Model(Protocol):
    """What is asked of a predictor."""

    objective: str
    classes: int
    """2 for ``binary:`` objectives, 0 where there are none."""
    columns: tuple[str, ...]
    """The features' names; f0, f1, ... for a model without."""

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """The prediction of `Booster.predict`."""

    def explain(self, features: NDArray[np.float32], kind: Kind) -> NDArray[np.float32]:
        """Another kind of prediction."""


def parse(text: str) -> Keys:
    """The names of outputs in ``"predicted_label, probability"``.

    Raises:
        ValueError: names the one that is unknown, and the nearest known.
    """
    keys = tuple(text.replace(" ", "").lower().split(","))
    for key in keys:
        if key not in _KNOWN:
            near = difflib.get_close_matches(key, _KNOWN, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_KNOWN)}"
            raise ValueError(f"unknown output {key!r:.80}: {hint}")
    return tuple(dict.fromkeys(keys))


def requested(attributes: str) -> Keys | None:
    """The outputs that a request asks for in its custom attributes: ``output=margin,leaf``.

    The header belongs to whoever sends it: other attributes, separated by semicolons, are left to
    the model's own code. None if none of them is ``output``.

    Raises:
        BadRequestError: an output is unknown.
    """
    for attribute in attributes.split(";"):
        name, equals, value = attribute.partition("=")
        if equals and name.strip().lower() == "output":
            try:
                return parse(value)
            except ValueError as error:
                raise BadRequestError(f"custom attributes: {error}") from None
    return None


def compute(model: Model, features: NDArray[np.float32], keys: Keys) -> list[Output]:
    """The outputs `keys` for the rows of `features`, float32 (rows, columns).

    Raises:
        BadRequestError: the model has no such output.
        RequestTooLargeError: the outputs would take too much memory.
    """
    if "interactions" in keys:
        _check_interactions(model, len(features))
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


def _check_interactions(model: Model, rows: int) -> None:
    cells = max(model.classes, 1) * (len(model.columns) + 1) ** 2
    if rows * cells > MAX_CELLS:
        raise RequestTooLargeError(
            f"interactions of {len(model.columns):,} features take {cells:,} values a row: send "
            f"at most {max(MAX_CELLS // cells, 1):,} rows"
        )


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
