"""botocore's service models: what operations there are, and the shapes of what they take and give.

The models are the data that boto3 and the AWS CLI are made from. Shapes are botocore's own
`botocore.model.Shape`; botocore is not typed, so they are `Any` here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from typing import Any, Final

from botocore.loaders import Loader
from botocore.model import ServiceModel

SAGEMAKER: Final = "sagemaker"
RUNTIME: Final = "sagemaker-runtime"

_POSIX: Final = {"ASCII": r"\x00-\x7f", "Print": r"\x20-\x7e", "Alnum": "a-zA-Z0-9"}
_LAST_CHARACTER: Final = 0x10FFFF


@cache
def service(name: str) -> Any:
    """The model of a service, as ``service("sagemaker")``; read once, which takes 0.2 seconds."""
    return ServiceModel(Loader().load_service_model(name, "service-2"), name)


@cache
def operation(service_name: str, name: str) -> Any:
    """An operation's model, with its `input_shape` and `output_shape`.

    Raises:
        botocore.model.OperationNotFoundError: AWS's service has no such operation.
    """
    return service(service_name).operation_model(name)


@cache
def error_shape(service_name: str, code: str) -> Any | None:
    """The shape of an error; None when the model does not have it, as for ``AccessDenied``."""
    model = service(service_name)
    if code not in model.shape_names:
        return None
    shape = model.shape_for(code)
    return shape if shape.metadata.get("exception") else None


@cache
def pattern(java: str) -> re.Pattern[str]:
    """A pattern of a service model, which is Java's, as Python's."""
    return re.compile("".join(_translated(java)))


def _translated(java: str) -> Iterator[str]:
    in_class = False
    for piece in re.findall(r"\\p\{\w+\}|\\.|.", java, re.DOTALL):
        if piece.startswith(r"\p"):
            characters = _characters(piece[3:-1])
            yield characters if in_class else f"[{characters}]"
        elif piece == r"\z":
            yield r"\Z"
        else:
            in_class = piece == "[" or (in_class and piece != "]")
            yield piece


def _characters(name: str) -> str:
    """What ``\\p{name}`` stands for, as it is written inside of brackets."""
    return _POSIX.get(name) or _categories()[name]


@cache
def _categories() -> dict[str, str]:
    """The characters of each of Unicode's categories, as ``L`` for letters."""
    ranges: dict[str, list[str]] = {}
    for category, codes in groupby(
        range(_LAST_CHARACTER + 1), lambda code: unicodedata.category(chr(code))[0]
    ):
        run = list(codes)
        ranges.setdefault(category, []).append(f"\\U{run[0]:08x}-\\U{run[-1]:08x}")
    return {category: "".join(parts) for category, parts in ranges.items()}
