"""A validation channel in the columns and categories of the training channel."""

from __future__ import annotations

import dataclasses
import logging

import pandas as pd

from mme_training.data.dataset import Dataset
from mme_training.data.lines import show
from mme_training.errors import UserError

_LOG = logging.getLogger(__name__)
_MOST_SHOWN = 5


def agree(validation: Dataset, training: Dataset) -> Dataset:
    """The validation rows with the columns of `training` in its order, and with its categories.

    A category that no dictionary of the training channel has becomes a missing value, and is
    logged: XGBoost would end the training on it.

    Raises:
        UserError: the features have other names, or one is a number here and a category there; or
            there are not as many labels, or no queries where there are such.
    """
    if validation.label.shape[1:] != training.label.shape[1:]:
        raise UserError("the validation channel has another number of labels than the training one")
    if training.qid is not None and validation.qid is None:
        raise UserError(
            "the rows of the training channel have query ids, those of the validation channel have "
            "none: all of it would be one query"
        )
    here, there = validation.features, training.features
    if not isinstance(here, pd.DataFrame) or not isinstance(there, pd.DataFrame):
        if validation.columns != training.columns:
            raise UserError(
                f"the validation channel has {validation.columns} features, the training channel "
                f"has {training.columns}"
            )
        return validation
    for names, others, which in (
        (there.columns, here.columns, "the training channel alone"),
        (here.columns, there.columns, "the validation channel alone"),
    ):
        alone = [show(str(name)) for name in names if name not in others]
        if alone:
            more = ", ..." if len(alone) > _MOST_SHOWN else ""
            raise UserError(f"columns are in {which}: {', '.join(alone[:_MOST_SHOWN])}{more}")
    columns = {str(name): _column(here[name], there[name]) for name in there.columns}
    return dataclasses.replace(validation, features=pd.DataFrame(columns))


def _column(here: pd.Series, there: pd.Series) -> pd.Series:
    dtypes = (here.dtype, there.dtype)
    kinds = [isinstance(dtype, pd.CategoricalDtype) for dtype in dtypes]
    if kinds[1] and not kinds[0] and here.isna().all():
        return here.astype(there.dtype)  # Of nothing but nulls a file does not say what they are.
    if kinds[0] != kinds[1]:
        hold = ["categories" if kind else "numbers" for kind in kinds]
        raise UserError(
            f"column {show(str(here.name))} holds {hold[0]} in the validation channel and "
            f"{hold[1]} in the training channel"
        )
    if not kinds[0]:
        return here
    known = there.cat.categories
    unknown = here.cat.remove_unused_categories().cat.categories.difference(known)
    if len(unknown):
        more = ", ..." if len(unknown) > _MOST_SHOWN else ""
        _LOG.warning(
            "column %s of the validation channel has categories that the training channel does "
            "not have, taken as missing: %s%s",
            show(str(here.name)),
            ", ".join(show(str(text)) for text in unknown[:_MOST_SHOWN]),
            more,
        )
    return here.cat.set_categories(known)
