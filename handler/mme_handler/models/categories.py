"""The categories of a model, spelled as texts, and the codes that stand for them in its columns."""

from __future__ import annotations

from typing import Any

import xgboost as xgb


def categories(booster: xgb.Booster) -> dict[int, dict[str, int]]:
    """Return the code of each category, for the columns whose categories the model has stored.

    A number is spelled as Python does it, as in "10". A column has no codes if its categories are
    neither texts nor numbers, or not surely the right ones.

    Raises:
        ValueError: what the model has stored is damaged.
    """
    import pyarrow as pa  # Takes long to import, and few models need it.

    try:
        stored = booster.get_categories(export_to_arrow=True)
    except xgb.core.XGBoostError:
        return {}  # gblinear has none.
    return {
        index: _codes(pa, values)
        for index, (_, values) in enumerate(stored.to_arrow())
        if values is not None
    }


def _codes(pa: Any, values: Any) -> dict[str, int]:
    types = pa.types
    is_text = types.is_string(values.type) or types.is_large_string(values.type)
    if not (is_text or types.is_integer(values.type) or types.is_floating(values.type)):
        return {}
    try:
        values.validate(full=True)
    except pa.ArrowInvalid:
        return {}
    texts = [str(value) for value in values.to_pylist()]
    # XGBoost 3.1 and 3.2 cut pandas' categories apart by characters and not by bytes: from the
    # first that is not ASCII, all are wrong and nothing shows it (dmlc/xgboost#12371).
    if not all(text.isascii() for text in texts):
        return {}
    return {text: code for code, text in enumerate(texts)}
