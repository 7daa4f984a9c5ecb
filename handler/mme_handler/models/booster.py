"""Load one XGBoost model file, of any format, without trusting it.

Has a file's bytes checked before libxgboost sees them, for some damaged files make it crash. Must
not know where the file came from, how a request looks, or how the model is used. A pickle is
unpickled only for a caller that allows it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import xgboost as xgb

from mme_handler.errors import ModelLoadError, OutOfMemoryError, is_out_of_memory
from mme_handler.models import checks
from mme_handler.models.categories import categories
from mme_handler.models.checks import Version
from mme_handler.models.formats import HEAD_BYTES, Format, damaged, format_of
from mme_handler.models.pickles import load_pickle

_WHERE = re.compile(r"^\[\d\d:\d\d:\d\d\] \S+:\d+: ")


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a model file says about itself.

    `version` is the XGBoost that wrote it and None when the file does not say; `booster` is
    "gbtree", "dart" or "gblinear"; `features` is the number of columns the model takes, `classes`
    how many it tells apart (0 when it does not classify), `targets` how many labels it was trained
    on; `rounds` is the number of boosting rounds, `best_iteration` the best of them, from 0, when
    training stopped early. `categories` gives, for each column whose categories the model has
    stored, the code of each, spelled as a text (no codes when they are not all ASCII); it is None
    when no column is categorical.
    """

    format: Format
    file_bytes: int
    version: Version | None
    booster: str
    objective: str
    features: int
    feature_names: tuple[str, ...] | None
    feature_types: tuple[str, ...] | None
    classes: int = 0
    targets: int = 1
    rounds: int = 0
    best_iteration: int | None = None
    categories: dict[int, dict[str, int]] | None = field(default=None, hash=False)

    @property
    def categorical(self) -> bool:
        """Whether a feature is categorical."""
        return self.feature_types is not None and "c" in self.feature_types

    def summary(self) -> dict[str, str | int]:
        """What a person wants to know of it, in a few words and numbers."""
        return {
            "format": self.format,
            "booster": self.booster,
            "objective": self.objective,
            "features": self.features,
            "classes": self.classes,
            "rounds": self.rounds,
            "xgboost": ".".join(map(str, self.version or ())),
        }


@dataclass(frozen=True, slots=True)
class LoadedBooster:
    """A booster that predicts with one thread, and what its file says."""

    booster: xgb.Booster
    info: ModelInfo


def sniff(path: Path) -> Format:
    """Return the format of the model file at `path` by its first bytes.

    Raises ModelLoadError when there is no such file or it holds no XGBoost model.
    """
    return format_of(path.name, bytes(_read(path, HEAD_BYTES)))


def load_booster(path: Path, allow_pickle: bool = False) -> LoadedBooster:
    """Load the model file at `path`, in the UBJSON or the JSON format.

    With `allow_pickle` it may be a pickle too, whose code runs: only for a process of its own.

    Raises ModelLoadError, which names the file and the remedy, when it cannot be loaded, and
    OutOfMemoryError when there is no room for it.
    """
    name = path.name
    if allow_pickle and format_of(name, bytes(_read(path, HEAD_BYTES)), allow_pickle) == "pickle":
        return _load_pickle(path)
    data = _read(path)
    file_bytes = len(data)
    form = format_of(name, bytes(data[:HEAD_BYTES]))
    if form == "json" and data[0] != ord("{"):
        data = data.lstrip()  # XGBoost looks for the brace in the very first byte.
    (checks.check_ubj if form == "ubj" else checks.check_json)(name, data)
    version = checks.ubj_version(data) if form == "ubj" else checks.json_version(data)
    _check_version(name, version)
    booster = _load(name, form, data)
    try:
        info = _describe(booster, form, file_bytes, version)
    except (xgb.core.XGBoostError, ValueError, KeyError) as error:
        raise _refusal(name, error) from error
    return LoadedBooster(booster, info)


def adopt(booster: xgb.Booster) -> LoadedBooster:
    """Make ready a booster that a model's own code has loaded."""
    booster.set_param({"nthread": 1})
    return LoadedBooster(booster, _describe(booster, "ubj", 0, None))


def first_line(error: BaseException) -> str:
    """Return what an XGBoostError says, without its place in the C++ source and its stack."""
    if isinstance(error, UnicodeDecodeError):
        return "its content is garbled"  # What XGBoost said quotes bytes that are not text.
    lines = _WHERE.sub("", str(error)).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


def _read(path: Path, limit: int | None = None) -> bytearray:
    """Read the first `limit` bytes of the file at `path`, or all of it."""
    if path.is_dir():
        raise ModelLoadError(f"The model {path.name!r} is a directory, not a model file.")
    if not path.exists():
        raise ModelLoadError(f"The model file {path.name!r} does not exist.")
    if not path.is_file():  # Opening a pipe would wait for its writer for ever.
        raise ModelLoadError(f"The model {path.name!r} is not a regular file.")
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            data = bytearray(size if limit is None else min(size, limit))
            del data[file.readinto(data) :]
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ModelLoadError(f"The model file {path.name!r} cannot be read: {reason}.") from error
    except MemoryError as error:
        raise _no_room(path.name) from error
    if not data:
        raise ModelLoadError(f"The model file {path.name!r} is empty: upload it again.")
    return data


def _check_version(name: str, version: Version | None) -> None:
    installed = tuple(int(part) for part in re.findall(r"\d+", xgb.__version__)[:2])
    if version is None or version[:2] <= installed:
        return
    raise ModelLoadError(
        f"The model file {name!r} was written by XGBoost {'.'.join(map(str, version))}, which is "
        f"newer than the XGBoost {xgb.__version__} of this container: save it with that version "
        "or an older one, or use a newer container."
    )


def _load(name: str, form: Format, data: bytearray) -> xgb.Booster:
    try:
        booster = xgb.Booster({"nthread": 1})
        booster.load_model(data)
    except (xgb.core.XGBoostError, UnicodeDecodeError, MemoryError) as error:
        # A length that was garbled looks like a lack of memory to libxgboost.
        if form == "ubj":
            checks.check_ubj_throughout(name, data)
        raise _refusal(name, error) from error
    return booster


def _load_pickle(path: Path) -> LoadedBooster:
    booster = load_pickle(path)
    booster.set_param({"nthread": 1})
    return LoadedBooster(booster, _describe(booster, "pickle", path.stat().st_size, None))


def _describe(
    booster: xgb.Booster, form: Format, file_bytes: int, version: Version | None
) -> ModelInfo:
    learner = orjson.loads(booster.save_config())["learner"]
    parameters = learner["learner_model_param"]
    objective = learner["objective"]["name"]
    names, types = booster.feature_names, booster.feature_types
    return ModelInfo(
        format=form,
        file_bytes=file_bytes,
        version=version,
        booster=learner["gradient_booster"]["name"],
        objective=objective,
        features=booster.num_features(),
        feature_names=tuple(names) if names else None,
        feature_types=tuple(types) if types else None,
        classes=2 if objective.startswith("binary:") else int(parameters.get("num_class", 0)),
        targets=int(parameters.get("num_target", 1)),
        rounds=booster.num_boosted_rounds(),
        best_iteration=_best_iteration(booster),
        categories=categories(booster) if types and "c" in types else None,
    )


def _best_iteration(booster: xgb.Booster) -> int | None:
    try:
        text = booster.attr("best_iteration")
    except AssertionError:
        return None  # XGBoost's own answer to an empty text.
    # The attribute is free text: whoever trained the model may have set it to anything.
    return int(text) if text and text.isascii() and text.isdecimal() else None


def _refusal(name: str, error: BaseException) -> ModelLoadError | OutOfMemoryError:
    return _no_room(name) if is_out_of_memory(error) else damaged(name, first_line(error))


def _no_room(name: str) -> OutOfMemoryError:
    return OutOfMemoryError(f"There is not enough memory to load the model file {name!r}.")
