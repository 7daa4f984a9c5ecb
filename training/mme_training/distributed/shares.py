"""What each host has of the data, and what all must agree on before they train together."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from mme_training.data.dataset import Dataset
from mme_training.errors import UserError

_SAMPLE = 1000


@dataclass(frozen=True, slots=True)
class Share:
    """What one host has of the channel ``train``, without the rows themselves."""

    rows: int
    columns: int
    sparse: bool
    """Whether columns on the right may be missing, since nothing is stored in them."""
    names: tuple[str, ...] | None
    """Of a frame's columns."""
    categories: Mapping[str, tuple[Any, ...]]
    """By the name of a categorical column."""
    targets: int
    weighted: bool
    ranked: bool
    digest: str
    """The same for the same rows; different ones differ in all likelihood."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What the rows of all hosts have in common."""

    columns: int
    categories: Mapping[str, tuple[Any, ...]]


def describe(data: Dataset) -> Share:
    """The share that `data` is."""
    frame = data.features if isinstance(data.features, pd.DataFrame) else None
    return Share(
        rows=data.rows,
        columns=data.columns,
        sparse=sparse.issparse(data.features),
        names=None if frame is None else tuple(map(str, frame.columns)),
        categories={}
        if frame is None
        else {
            str(name): tuple(frame[name].cat.categories.tolist())
            for name, dtype in frame.dtypes.items()
            if isinstance(dtype, pd.CategoricalDtype)
        },
        targets=1 if data.label.ndim == 1 else data.label.shape[1],
        weighted=data.weight is not None,
        ranked=data.qid is not None,
        digest=_digest(data),
    )


def reconcile(shares: Mapping[str, Share]) -> Agreement:
    """What the `shares`, by host, come to together.

    Raises:
        UserError: they cannot be trained on together.
    """
    (first, reference), *others = shares.items()
    for host, share in others:
        for what, one, other in (
            ("weights", reference.weighted, share.weighted),
            ("query ids", reference.ranked, share.ranked),
        ):
            if one != other:
                has, lacks = (first, host) if one else (host, first)
                raise UserError(f"the rows of {has} have {what}, those of {lacks} have none")
        if share.targets != reference.targets:
            raise UserError(
                f"{host} has {share.targets} labels in each row, {first} has {reference.targets}"
            )
        _same_columns(first, reference, host, share)
    columns = max(share.columns for share in shares.values())
    for host, share in shares.items():
        if share.columns < columns and not share.sparse:
            most = next(name for name, other in shares.items() if other.columns == columns)
            raise UserError(
                f"{host} has {share.columns} features in the channel train, {most} has {columns}"
            )
    return Agreement(columns, {name: _union(name, shares) for name in reference.categories})


def conform(data: Dataset, agreement: Agreement) -> Dataset:
    """Rows of ``train`` with the columns and the categories that were agreed on."""
    features: Any = data.features
    if sparse.issparse(features) and data.columns < agreement.columns:
        shape = (data.rows, agreement.columns)
        features = sparse.csr_matrix((features.data, features.indices, features.indptr), shape)
    if isinstance(features, pd.DataFrame) and agreement.categories:
        features = features.copy(deep=False)
        for name, categories in agreement.categories.items():
            features[name] = features[name].cat.set_categories(list(categories))
    return replace(data, features=features)


def part(data: Dataset, index: int, parts: int, channel: str) -> Dataset:
    """The rows of worker `index`, from 0, of `parts` that divide `data`; queries stay whole.

    Raises:
        UserError: there are fewer rows, or queries, than workers.
    """
    if parts == 1:
        return data
    if data.qid is None:
        starts = np.arange(data.rows)
    else:
        starts = np.flatnonzero(np.r_[True, data.qid[1:] != data.qid[:-1]])
    if len(starts) < parts:
        one, many = ("row", "rows") if data.qid is None else ("query", "queries")
        raise UserError(
            f"the channel {channel} has {len(starts)} {one if len(starts) == 1 else many} for "
            f"{parts} workers: use fewer GPUs or hosts"
        )
    ends = np.r_[starts, data.rows]
    first, last = (ends[len(starts) * number // parts] for number in (index, index + 1))
    return data.take(np.arange(first, last))


def copied(shares: Mapping[str, Share]) -> list[str]:
    """The hosts that have the same rows as another, or none."""
    digests = [share.digest for share in shares.values()]
    return [host for host, share in shares.items() if digests.count(share.digest) > 1]


def _same_columns(first: str, reference: Share, host: str, share: Share) -> None:
    if share.names == reference.names and share.categories.keys() == reference.categories.keys():
        return
    if share.names is None or reference.names is None:
        names, does_not = (first, host) if share.names is None else (host, first)
        raise UserError(f"the files of {names} name their columns, those of {does_not} do not")
    different = [
        f"column {number} is {one} on {first} and {other} on {host}"
        for number, (one, other) in enumerate(
            zip(_kinds(reference), _kinds(share), strict=False), start=1
        )
        if one != other
    ]
    raise UserError(
        different[0]
        if different
        else f"{host} has {share.columns} features in the channel train, {first} has "
        f"{reference.columns}"
    )


def _kinds(share: Share) -> list[str]:
    return [
        f"{name} ({'categories' if name in share.categories else 'numbers'})"
        for name in share.names or ()
    ]


def _union(name: str, shares: Mapping[str, Share]) -> tuple[Any, ...]:
    orders = {share.categories[name] for share in shares.values()}
    if len(orders) == 1:
        return orders.pop()
    values = {value for order in orders for value in order}
    if len({isinstance(value, str) for value in values}) > 1:
        raise UserError(
            f"column {name} holds text on "
            f"{_with(name, shares, text=True)} and numbers on {_with(name, shares, text=False)}"
        )
    # One order for all, whichever host has which: a category's code is its place.
    return tuple(sorted(values))


def _with(name: str, shares: Mapping[str, Share], *, text: bool) -> str:
    return next(
        host
        for host, share in shares.items()
        if any(isinstance(value, str) == text for value in share.categories[name])
    )


def _digest(data: Dataset) -> str:
    digest = hashlib.blake2b(np.ascontiguousarray(data.label).tobytes(), digest_size=16)
    rows = np.r_[: min(data.rows, _SAMPLE), max(data.rows - _SAMPLE, 0) : data.rows]
    for array in _arrays(data.take(rows).features):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _arrays(features: Any) -> Sequence[Any]:
    if isinstance(features, pd.DataFrame):
        return [pd.util.hash_pandas_object(features, index=False).to_numpy()]
    if isinstance(features, np.ndarray):
        return [features]
    return [features.data, features.indices, features.indptr]
