"""What a report needs of each model besides its record: how it judged, and by what.

A file of its own for each fingerprint, an Arrow file with the columns ``label`` (float32) and
``prediction`` (float32, or a list of them for a model of several outputs), a row for each test row,
in their order. The importance of the features is in the metadata of its schema.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_IMPORTANCE = b"importance"


def write_evaluation(
    file: Path,
    label: NDArray[np.float32],
    predictions: NDArray[np.float32],
    importance: Mapping[str, float],
    scratch: Path,
) -> None:
    """Write `file`, by way of `scratch`, which is on the same disk.

    Args:
        file: what to write.
        label: (rows,).
        predictions: (rows,) or (rows, outputs).
        importance: by feature.
        scratch: a directory.
    """
    column: Any = pa.array(predictions.reshape(-1))
    if predictions.ndim > 1:
        column = pa.FixedSizeListArray.from_arrays(column, predictions.shape[1])
    batch = pa.record_batch({"label": pa.array(label), "prediction": column})
    batch = batch.replace_schema_metadata({_IMPORTANCE: json.dumps(dict(importance))})
    partial = scratch / file.name
    with pa.ipc.new_file(str(partial), batch.schema) as writer:
        writer.write_batch(batch)
    partial.replace(file)


def read_evaluation(file: Path) -> tuple[pa.Table, dict[str, float]]:
    """The labels and predictions of the test rows, and the importance by feature."""
    with pa.memory_map(str(file)) as source:
        table = pa.ipc.open_file(source).read_all()
    importance: dict[str, float] = json.loads(table.schema.metadata[_IMPORTANCE])
    return table.replace_schema_metadata(None), importance
