"""A model's own settings: ``mme.toml``, or ``mme.json``, at the root of its archive."""

from __future__ import annotations

import difflib
import math
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from mme_handler.errors import ModelLoadError
from mme_handler.models import outputs
from mme_handler.settings import Bytes

NAMES: Final = ("mme.toml", "mme.json")
_MOST_BYTES: Final = 64 << 10


def _no_infinity(value: float) -> float:
    if math.isinf(value):
        raise ValueError("infinity is never accepted in a request, so it can mark nothing")
    return value


def _known(text: str) -> str:
    outputs.parse(text)
    return text


class ModelSettings(BaseModel):
    """What one model wants otherwise than the container has it; every key may be left out."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    missing: Annotated[float, AfterValidator(_no_infinity)] = math.nan
    """The number that means "missing" in requests, besides an empty cell, null and NaN."""

    output: Annotated[str, AfterValidator(_known)] | None = None
    """What to answer with: names of outputs, separated by commas."""

    default_accept: str | None = None
    """Content type of an answer when the client accepts any."""

    device: Literal["auto", "cpu", "cuda"] | None = None
    """Where to predict; ``auto`` is the GPU if there is one."""

    threads: int = Field(default=1, ge=1, le=256)
    """Threads that one prediction may use."""

    timeout: float | None = Field(default=None, ge=0.001)
    """Seconds that an invocation of a model with code may take, at most the container's."""

    memory: Annotated[Bytes, Field(ge=1)] | None = None
    """Bytes to charge the model with, ``"300m"`` for example, in place of the estimate."""

    batch_size: int | None = Field(default=None, ge=1)
    """Rows that are predicted at a time."""

    trees: Literal["all", "best_iteration"] = "all"
    """``best_iteration``: only the trees up to the one that early stopping found best."""

    libsvm_index_base: Literal[0, 1] | None = None
    """The index of the first feature in text/libsvm."""


def read(directory: Path) -> ModelSettings:
    """Read the settings of the archive unpacked at `directory`; the defaults if it has none.

    Raises:
        ModelLoadError: names the file, the key, and the nearest known key or the reason.
    """
    found = [path for name in NAMES if (path := directory / name).is_file()]
    if not found:
        return _DEFAULTS
    if len(found) > 1:
        raise ModelLoadError(f"the archive holds both {' and '.join(NAMES)}: keep one")
    file = found[0]
    try:
        with file.open("rb") as stream:
            text = stream.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise ModelLoadError(f"{file.name} is larger than {_MOST_BYTES >> 10} kB")
        values = orjson.loads(text) if file.suffix == ".json" else tomllib.loads(text.decode())
    except (ValueError, RecursionError, OSError) as error:  # both parsers' errors are ValueErrors
        raise ModelLoadError(f"{file.name} cannot be read: {error}") from None
    try:
        return ModelSettings.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(_describe(problem) for problem in error.errors())
        raise ModelLoadError(f"{file.name}: {problems}") from None


def _describe(problem: Any) -> str:
    key = ".".join(map(str, problem["loc"][:1]))
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, ModelSettings.model_fields, 1, 0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_KEYS)}"
        return f"unknown key {key!r}: {hint}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{key}: {message}" if key else message


_KEYS: Final = tuple(ModelSettings.model_fields)
_DEFAULTS: Final = ModelSettings()
