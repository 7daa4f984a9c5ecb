"""Serves many XGBoost models behind multi-model-server: what runs inside the container.

For the code of a model there are the default hooks: ``from mme_handler import input_fn``.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mme_handler.defaults import input_fn, model_fn, output_fn, predict_fn

__all__ = ["input_fn", "model_fn", "output_fn", "predict_fn"]


def __getattr__(name: str) -> Any:
    """Import the default hooks when they are asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mme_handler import defaults

    return getattr(defaults, name)
