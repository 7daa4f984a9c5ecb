"""A channel of a training job: its files, read as what its content type says they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mme_training.data import csv_files, libsvm, recordio, tables
from mme_training.data.content_type import ContentType, Format, parse
from mme_training.data.dataset import Dataset
from mme_training.data.files import DataFile, data_files
from mme_training.errors import UserError


def read_channel(
    directory: Path,
    content_type: str | None,
    *,
    csv_weights: bool = False,
    columns: int | None = None,
) -> Dataset | None:
    """Read all data files of a channel, to any depth; None if there is none.

    Files are read in the order of their paths, each once and from its first byte to the last where
    the format allows it; CSV and libsvm may be packed with gzip. Files whose names begin with a dot
    or an underscore are skipped.

    Args:
        directory: the channel's, or a single file.
        content_type: the channel's ContentType with its parameters; None means libsvm.
        csv_weights: whether a column of weights follows the label in CSV and in tables.
        columns: the number of features of the training channel, for another channel.

    Raises:
        UserError: names the file, and the line and column where there are such; or the content type
            is not known, the channel has no rows, or not as many features as `columns`.
    """
    parsed = parse(content_type)
    files = data_files(directory)
    if not files:
        return None
    dataset = _read([file for file in files if file.size], parsed, csv_weights, columns)
    if dataset is None:
        raise UserError(f"the channel {directory} has files, but no row of data is in them")
    if columns is not None and dataset.columns != columns:
        raise UserError(
            f"the channel {directory} has {dataset.columns} features, the training channel has "
            f"{columns}"
        )
    if dataset.weight is not None and not np.any(dataset.weight):
        raise UserError(f"the channel {directory} has only weights of 0: nothing could be learned")
    return dataset


def _read(
    files: list[DataFile], content_type: ContentType, weighted: bool, columns: int | None
) -> Dataset | None:
    match content_type.format:
        case Format.CSV:
            return csv_files.read(files, content_type, weighted)
        case Format.LIBSVM:
            return libsvm.read(files, content_type, columns)
        case Format.RECORDIO:
            return recordio.read(files, content_type, columns)
        case _:
            return tables.read(files, content_type, weighted)
