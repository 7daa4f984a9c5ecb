"""Channels of training data, and what reading them is held against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xgboost as xgb
from google.protobuf.message import Message

from mme_handler.codecs.recordio_protobuf import frame, make_record_type
from mme_training.data.channel import read_channel

PARAMETERS = {"max_depth": 3, "nthread": 1, "seed": 1}


def write(path: Path, content: str | bytes) -> Path:
    """A file with all directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def table(rows: int = 200, columns: int = 5, seed: int = 0) -> np.ndarray:
    """Random float64 numbers (rows, columns), a tenth of the features missing."""
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(rows, columns)) * 10.0 ** generator.integers(-3, 6, columns)
    values[:, 1:][generator.random((rows, columns - 1)) < 0.1] = np.nan
    return values


def csv(values: np.ndarray, delimiter: str = ",", end: str = "\n") -> str:
    """The rows as CSV, missing values as empty cells, every digit written."""
    return "".join(
        delimiter.join("" if np.isnan(value) else repr(value) for value in row) + end
        for row in values.tolist()
    )


def record(features: Message | np.ndarray, label: list[float] | None, **options) -> bytes:
    """A framed record; `options` are those of `tensor`."""
    message = make_record_type()()
    tensor(message.features["values"], features, **options)
    if label is not None:
        tensor(message.label["values"], np.asarray(label, np.float32))
    return frame(message.SerializeToString())


def tensor(value: Message, numbers, keys=None, shape=None, kind: str = "float32_tensor") -> None:
    """Fill a value of a record."""
    filled = getattr(value, kind)
    filled.values.extend(np.asarray(numbers).tolist())
    filled.keys.extend(keys or [])
    filled.shape.extend(shape or [])


def model_bytes(matrix: xgb.DMatrix, rounds: int = 4) -> bytes:
    """The model that XGBoost trains on the matrix."""
    return bytes(xgb.train(PARAMETERS, matrix, rounds).save_raw("ubj"))


def read(path: Path, content_type: str | None, **options):
    """The channel, which must have rows."""
    dataset = read_channel(path, content_type, **options)
    assert dataset is not None
    return dataset
