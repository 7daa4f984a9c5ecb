"""The default hooks, for an archive's own code to wrap: ``from mme_handler import input_fn``.

They act on the one model of this process, so they work in an ``inference.py`` and nowhere else::

    from mme_handler import input_fn as read

    def input_fn(body, content_type):
        return scale(read(body, content_type))
"""

from __future__ import annotations

import weakref
from typing import Any, Protocol


class Defaults(Protocol):
    """What a handler offers: the hooks as they are when the model defines none."""

    def default_model_fn(self, model_dir: str) -> Any:
        """Load the model file of the archive."""

    def default_input_fn(self, body: bytes | str, content_type: str) -> Any:
        """Decode a request into what `default_predict_fn` takes."""

    def default_predict_fn(self, data: Any, model: Any) -> Any:
        """Predict."""

    def default_output_fn(self, prediction: Any, accept: str | None) -> Any:
        """Encode a prediction."""


# Weak: a handler that could not be loaded, or is unloaded, is not kept alive by this.
_current: weakref.ref[Defaults] | None = None


def use(handler: Defaults) -> None:
    """Let the defaults act on the model of `handler`."""
    global _current
    _current = weakref.ref(handler)


def _handler() -> Defaults:
    handler = _current() if _current else None
    if handler is None:
        raise RuntimeError(
            "the default hooks of mme_handler act on the model that is being served: "
            "call them in the hooks of an inference.py, not outside a server"
        )
    return handler


def model_fn(model_dir: str) -> Any:
    """Load the one model file of the archive; `model_dir` is what the hook was given."""
    return _handler().default_model_fn(model_dir)


def input_fn(body: bytes | str, content_type: str) -> Any:
    """Decode a request's body into features, a row per row."""
    return _handler().default_input_fn(body, content_type)


def predict_fn(data: Any, model: Any) -> Any:
    """Predict with the model that ``model_fn`` returned."""
    return _handler().default_predict_fn(data, model)


def output_fn(prediction: Any, accept: str | None) -> Any:
    """Encode a prediction as a content type that the client accepts."""
    return _handler().default_output_fn(prediction, accept)
