"""What a model answers: one or more named outputs, and how their rows read as records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from mme_handler.codecs.chunks import batches

SCORE: Final = "score"
"""The name of a plain prediction."""

_OPTIONS: Final = orjson.OPT_SERIALIZE_NUMPY


class Output(NamedTuple):
    """One output of all rows.

    `values` is float32 or int64, C-contiguous, with the rows along its first axis. `columns` names
    what lies along the last of its axes, or along the last `axes` of them: two for interactions.
    """

    name: str
    values: NDArray[Any]
    columns: tuple[str, ...] | None = None
    axes: int = 1


Outputs = Sequence[Output]


def only_scores(outputs: Outputs) -> NDArray[np.float32] | None:
    """The predictions, if they are all that is answered, as float32 of one or two dimensions."""
    first = outputs[0]
    if len(outputs) > 1 or first.name != SCORE or first.values.ndim > 2:
        return None
    return np.ascontiguousarray(first.values, np.float32)


def records(outputs: Outputs) -> Iterator[bytes]:
    """Each row as a JSON object: ``{"score":0.5}``; NaN and infinity are null.

    Values along a named axis are an object, ``{"contributions":{"LOT_ACRES":0.1,"bias":2.0}}``,
    others a list. Numbers have the fewest digits that give the same float32 back.
    """
    for row in rows(outputs):
        yield orjson.dumps(row, option=_OPTIONS)


def rows(outputs: Outputs) -> Iterator[dict[str, Any]]:
    """Each row as a dictionary of numpy scalars, arrays and dictionaries, as in `records`."""
    count = len(outputs[0].values)
    width = sum(output.values[:1].size for output in outputs)
    for batch in batches(count, width):
        parts = [output.values[batch] for output in outputs]
        for number in range(len(parts[0])):
            yield {
                output.name: _named(part[number], output.columns, output.axes)
                for output, part in zip(outputs, parts, strict=True)
            }


def _named(value: Any, columns: tuple[str, ...] | None, axes: int) -> Any:
    if columns is None:
        return value
    if value.ndim > axes:
        return [_named(part, columns, axes) for part in value]
    parts = value if axes == 1 else [_named(part, columns, axes - 1) for part in value]
    return dict(zip(columns, parts, strict=True))
