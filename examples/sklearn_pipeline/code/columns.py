"""The columns of the pipeline, in training and in serving: numbers filled in, the city one-hot."""

from __future__ import annotations

from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder


def make_columns(medians: list[float], cities: list[str]) -> ColumnTransformer:
    """The transformer as fitted on a table with these medians and cities.

    It is fitted on a single row, the medians themselves, of which they are the medians again; so
    only scikit-learn's public interface is used, and any version of it will do.
    """
    numbers = list(range(len(medians)))
    city = OneHotEncoder(categories=[cities], handle_unknown="ignore", sparse_output=False)
    columns = ColumnTransformer(
        [("numbers", SimpleImputer(strategy="median"), numbers), ("city", city, [len(medians)])]
    )
    return columns.fit([[*medians, cities[0]]])
