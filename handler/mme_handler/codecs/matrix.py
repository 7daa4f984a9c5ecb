"""Python numbers to float32 matrices, and the words for what is wrong with them.

Numbers pass through float64 whatever the body's format, so that CSV and JSON give the same bits.
XGBoost refuses infinity in its input, so here it is an error, written out or by overflow.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from mme_handler.errors import BadRequestError

Matrix = NDArray[np.float32]

NAN = math.nan

# Half a unit above the largest float32: the first float64 that rounds to infinity.
FLOAT32_OVERFLOW = 2.0**128 - 2.0**103

_QUOTE_LIMIT = 40
_SHORT = 64


def to_float32(values: list[Any]) -> Matrix | None:
    """The values as a float32 array of the same shape, None becoming NaN.

    Args:
        values: numbers and None only, in a list or in lists of equal length.

    Returns:
        None if a number overflows float32; finding it is left to the caller.
    """
    if 0 < len(values) <= _SHORT and None not in values and type(values[0]) is not list:
        # `struct` notices overflow by itself: `errstate` costs more than all the rest of a row.
        packed = bytearray(4 * len(values))
        try:
            struct.pack_into(f"={len(values)}f", packed, 0, *values)
        except OverflowError:
            return None
        return np.frombuffer(packed, np.float32)
    try:
        with np.errstate(over="raise"):
            return np.array(values, dtype=np.float32)
    except FloatingPointError:
        return None


def parse_number(text: str, missing: frozenset[str]) -> float | None:
    """The number, NaN if the text in lower case is in `missing`, None if it is something else."""
    if text.lower() in missing:
        return NAN
    # `float` also takes 1_000 and the digits of other scripts.
    if "_" in text or not text.isascii():
        return None
    try:
        return float(text)
    except ValueError:
        return None


def stack(parts: list[Matrix]) -> Matrix:
    """The parts (n, features) one below the other; there must be at least one."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def wrong_count(where: str, got: int, features: int) -> BadRequestError:
    """The error for a row that has `got` values where the model takes `features`."""
    values = "value" if got == 1 else "values"
    return BadRequestError(f"{where}: got {got} {values}, the model takes {features}")


def not_a_number(where: str, what: str) -> BadRequestError:
    """The error for a cell that holds `what`, already quoted."""
    return BadRequestError(f"{where}: {what} is not a number")


def too_large(where: str, what: str) -> BadRequestError:
    """The error for a cell that holds `what`: infinity, or a number that overflows float32."""
    return BadRequestError(f"{where}: {what} is infinite or too large for a float32")


def quote(text: str) -> str:
    """`text` in double quotes on one line, cut to a length that suits a message."""
    shown = text if len(text) <= _QUOTE_LIMIT else text[:_QUOTE_LIMIT] + "..."
    # A surrogate by itself is no text that could be sent.
    return orjson.dumps(shown.encode(errors="backslashreplace").decode()).decode()
