"""Load one XGBoost model file, of any format, without trusting it.

Knows the file formats, what libxgboost checks of them and what it does not: some damaged files
make it crash, so they are refused before it sees them. Must not know where the file came from,
how a request looks, or how the model is used; a pickle is never unpickled.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson
import xgboost as xgb

from mme_handler.errors import ModelLoadError, OutOfMemoryError, is_out_of_memory

Format = Literal["ubj", "json"]
Version = tuple[int, ...]

_HEAD_BYTES = 512
_RE_SAVE = "save it with XGBoost's `Booster.save_model('model.ubj')`"

# How a file that is no model begins, and what it is.
_FOREIGN: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), what)
    for pattern, what in (
        (
            rb"\x80[\x02-\x05]|c(copy_reg|xgboost|__builtin__)|\(?[cli]xgboost",
            f"is a Python pickle (or joblib) file, which is never opened: {_RE_SAVE}",
        ),
        (
            rb"binf|CONFIG-offset:|.{136}[\x01-\x3f]\0{7}[a-z]+:[a-z]|.{16,400}gb(tree|linear)",
            "is in XGBoost's old binary format, which XGBoost 3.1 and later cannot read: load it "
            "with XGBoost 3.0 or older by `Booster.load_model`, then `save_model('model.ubj')`",
        ),
        (rb"\x1f\x8b", "is compressed with gzip: unpack it and deploy the model file inside"),
        (rb"PK\x03\x04", "is a zip archive: unpack it and deploy the model file inside"),
        (
            rb"BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|.{257}ustar",
            "is compressed or archived: unpack it and deploy the model file inside",
        ),
        (
            rb"booster\[\d|\s*\[\s*\{\s*\"nodeid",
            f"is the text of `dump_model`, which cannot be loaded: {_RE_SAVE}",
        ),
    )
)

# The version is the last member of every file that XGBoost writes.
_UBJ_VERSION = re.compile(
    rb"L\0{7}\x07version\[#L\0{7}\x03((?:[iU].|I..|l.{4}|L.{8}){3})", re.DOTALL
)
_UBJ_VERSION_BYTES = 64
_UBJ_VERSION_KEY = b"L\0\0\0\0\0\0\0\x07version["
_UBJ_INTEGER = re.compile(rb"([iU])(.)|(I)(..)|(l)(.{4})|(L)(.{8})", re.DOTALL)
_JSON_VERSION = re.compile(rb'"version"\s*:\s*\[\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\]\s*\}\s*\Z')
_JSON_VERSION_BYTES = 256

# A model nests 8 deep. libxgboost parses by recursion: 8 MB of stack hold some 18,000 levels.
_MAX_DEPTH = 64
_MAX_UBJ_OPENINGS = 4_000
# The bytes that can follow an opening bracket whose container can hold another container; the
# arrays of numbers, nearly all of a model, are followed by "$" instead.
_UBJ_NESTS = np.zeros(256, np.bool_)
_UBJ_NESTS[list(b"[{#LSCTFZiUIlLdD")] = True
_NO_JSON_SYNTAX = bytes(byte for byte in range(256) if byte not in b'[]{}"')
_SCAN_BYTES = 1 << 18

_UBJ_LENGTH_BYTES = 16  # what a container's length takes, with what leads to it

# The bytes that a UBJSON value of a fixed size takes after its marker.
_UBJ_SIZES = dict(zip(b"iUIlLdDCTFZ", (1, 1, 2, 4, 8, 4, 8, 1, 0, 0, 0), strict=True))
_length_at = struct.Struct(">q").unpack_from
_OBJECT, _OPEN_ARRAY = -1, -2  # What is being read; an array of known size counts down to 0.

_WHERE = re.compile(r"^\[\d\d:\d\d:\d\d\] \S+:\d+: ")


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a model file says about itself.

    `version` is the XGBoost that wrote it and None when the file does not say; `booster` is
    "gbtree", "dart" or "gblinear"; `features` is the number of columns the model takes.
    """

    format: Format
    file_bytes: int
    version: Version | None
    booster: str
    objective: str
    features: int
    feature_names: tuple[str, ...] | None
    feature_types: tuple[str, ...] | None

    @property
    def categorical(self) -> bool:
        """Whether a feature is categorical."""
        return self.feature_types is not None and "c" in self.feature_types


@dataclass(frozen=True, slots=True)
class LoadedBooster:
    """A booster that predicts with one thread, and what its file says."""

    booster: xgb.Booster
    info: ModelInfo


def sniff(path: Path) -> Format:
    """Return the format of the model file at `path` by its first bytes.

    Raises ModelLoadError when there is no such file or it holds no XGBoost model.
    """
    return _sniff(path.name, bytes(_read(path, _HEAD_BYTES)))


def load_booster(path: Path) -> LoadedBooster:
    """Load the model file at `path`, in the UBJSON or the JSON format.

    Raises ModelLoadError, which names the file and the remedy, when it cannot be loaded, and
    OutOfMemoryError when there is no room for it.
    """
    name = path.name
    data = _read(path)
    file_bytes = len(data)
    form = _sniff(name, bytes(data[:_HEAD_BYTES]))
    if form == "json" and data[0] != ord("{"):
        data = data.lstrip()  # XGBoost looks for the brace in the very first byte.
    (_check_ubj if form == "ubj" else _check_json)(name, data)
    version = _ubj_version(data) if form == "ubj" else _json_version(data)
    _check_version(name, version)
    booster = _load(name, form, data)
    try:
        info = _describe(booster, form, file_bytes, version)
    except (xgb.core.XGBoostError, UnicodeDecodeError, KeyError) as error:
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


def _sniff(name: str, head: bytes) -> Format:
    if head.startswith(b"{L"):
        return "ubj"
    if re.match(rb'\s*\{\s*"', head):
        return "json"
    for pattern, what in _FOREIGN:
        if pattern.match(head):
            raise ModelLoadError(f"The model file {name!r} {what}.")
    raise ModelLoadError(
        f"The model file {name!r} is not an XGBoost model in UBJSON or JSON format: {_RE_SAVE}."
    )


def _check_ubj(name: str, data: bytearray) -> None:
    """Refuse a file that is cut short or nested so deeply that libxgboost would crash on it.

    The usual file is told by its last bytes, by how few containers it opens and by lengths that
    end inside it. Only a file that does not pass so is read through.
    """
    tail = bytes(data[-_UBJ_VERSION_BYTES:])
    ends = list(_UBJ_VERSION.finditer(tail))
    whole = bool(ends) and tail[ends[-1].end() :] == b"}"
    if not whole or _ubj_openings(data) > _MAX_UBJ_OPENINGS or _ubj_length_too_large(data):
        _check_ubj_throughout(name, data)


def _check_ubj_throughout(name: str, data: bytearray) -> None:
    """Read a whole UBJSON file; refuse it when it is cut short, malformed or nested too deeply.

    This takes about as long as loading the model does.
    """
    try:
        _walk_ubj(data)
    except (IndexError, KeyError, struct.error) as error:
        raise _damaged(name, "it is cut short or damaged") from error
    except ValueError as error:
        raise _damaged(name, str(error)) from error


def _ubj_openings(data: bytearray) -> int:
    """Count the bytes that may open a container of containers: never less than the depth."""
    octets = np.frombuffer(data, np.uint8)
    openings = 0
    for start in range(0, len(octets), _SCAN_BYTES):  # Not at once: a model may be large.
        part = octets[start : start + _SCAN_BYTES + 1]
        opening = (part[:-1] | 0x20) == ord("{")  # "[" and "{" differ in this one bit.
        openings += int(np.count_nonzero(_UBJ_NESTS[part[1:][opening]]))
    return openings


def _ubj_length_too_large(data: bytearray) -> bool:
    """Whether what looks like a container's length leads out of the file.

    libxgboost allocates by such a length before it reads: two gigabytes for one garbled byte.
    """
    octets = np.frombuffer(data, np.uint8)
    for start in range(0, len(octets), _SCAN_BYTES):
        part = octets[start : start + _SCAN_BYTES + _UBJ_LENGTH_BYTES]
        # "[$t#L" and eight bytes, "[#L" and eight bytes; "l" has four.
        at = np.flatnonzero((part[:-1] == ord("#")) & ((part[1:] | 0x20) == ord("l")))
        at = at[(at >= 3) & (at + 2 + 8 <= len(part))]
        at = at[(part[at - 1] == ord("[")) | (part[at - 2] == ord("$"))]
        lengths = part[at[:, None] + np.arange(2, 10)].view(">u8")[:, 0]
        lengths = np.where(part[at + 1] == ord("L"), lengths, lengths >> np.uint64(32))
        if np.any(lengths > len(octets) - (start + at)):
            return True
    return False


def _check_json(name: str, data: bytearray) -> None:
    """Refuse JSON that is nested so deeply that libxgboost would crash on it."""
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = b"".join(data.translate(None, _NO_JSON_SYNTAX).split(b'"')[::2])
    for _ in range(_MAX_DEPTH):
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(brackets) <= _MAX_DEPTH:
            return  # What is left is unclosed, but shallow: the library says where it ends.
    raise _damaged(name, "it is nested too deeply to be a model, or cut short")


def _ubj_version(data: bytearray) -> Version | None:
    at = data.rfind(_UBJ_VERSION_KEY)
    found = _UBJ_VERSION.match(data, at) if at >= 0 else None
    if found is None:
        return None
    return tuple(
        int.from_bytes(match[match.lastindex or 0], "big", signed=match[1] != b"U")
        for match in _UBJ_INTEGER.finditer(found[1])
    )


def _json_version(data: bytearray) -> Version | None:
    found = _JSON_VERSION.search(data[-_JSON_VERSION_BYTES:])
    if found:
        return tuple(int(part) for part in found.groups())
    try:
        version: Any = orjson.loads(data).get("version")
    except orjson.JSONDecodeError:
        return None  # XGBoost reads more than JSON allows, NaN for one, and says what it cannot.
    if isinstance(version, list) and all(isinstance(part, int) for part in version):
        return tuple(version)
    return None


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
            _check_ubj_throughout(name, data)
        raise _refusal(name, error) from error
    return booster


def _describe(
    booster: xgb.Booster, form: Format, file_bytes: int, version: Version | None
) -> ModelInfo:
    learner = orjson.loads(booster.save_config())["learner"]
    names, types = booster.feature_names, booster.feature_types
    return ModelInfo(
        format=form,
        file_bytes=file_bytes,
        version=version,
        booster=learner["gradient_booster"]["name"],
        objective=learner["objective"]["name"],
        features=booster.num_features(),
        feature_names=tuple(names) if names else None,
        feature_types=tuple(types) if types else None,
    )


def _refusal(name: str, error: BaseException) -> ModelLoadError | OutOfMemoryError:
    return _no_room(name) if is_out_of_memory(error) else _damaged(name, first_line(error))


def _damaged(name: str, why: str) -> ModelLoadError:
    return ModelLoadError(
        f"The model file {name!r} cannot be loaded: {why.rstrip('.')}. "
        f"Upload it again, or {_RE_SAVE}."
    )


def _no_room(name: str) -> OutOfMemoryError:
    return OutOfMemoryError(f"There is not enough memory to load the model file {name!r}.")


def _walk_ubj(data: bytearray) -> None:
    outer: list[int] = []
    inside = 1  # One value, the document itself, is still to come.
    at = 0
    while True:
        # At this point `at` is where a member, a value or the end of the container begins.
        closes = (inside == _OBJECT and data[at] == ord("}")) or (
            inside == _OPEN_ARRAY and data[at] == ord("]")
        )
        if closes or inside == 0:
            at += closes
            if not outer:
                return
            inside = outer.pop()
            continue
        if inside == _OBJECT:
            at = _after_length(data, at)
        elif inside > 0:
            inside -= 1
        marker = data[at]
        if marker == ord("S"):
            at = _after_length(data, at + 1)
        elif marker == ord("[") and data[at + 1] == ord("$"):
            at = _after_typed_array(data, at)
        elif marker in b"[{":
            outer.append(inside)
            if len(outer) > _MAX_DEPTH:
                raise ValueError("it is nested too deeply to be a model")
            inside, at = _enter(data, at)
        else:
            at += 1 + _UBJ_SIZES[marker]


def _after_length(data: bytearray, at: int) -> int:
    """Return the offset after the length at `at` and as many bytes as it says."""
    return at + 9 + _length(data, at)


def _length(data: bytearray, at: int) -> int:
    length: int = _length_at(data, at + 1)[0]
    if data[at] != ord("L") or length < 0:
        raise ValueError("it is damaged")
    return length


def _after_typed_array(data: bytearray, at: int) -> int:
    if data[at + 3] != ord("#"):
        raise ValueError("it is damaged")
    return at + 13 + _length(data, at + 4) * _UBJ_SIZES[data[at + 2]]


def _enter(data: bytearray, at: int) -> tuple[int, int]:
    """Return what the container at `at` is, and the offset of its first member."""
    if data[at] == ord("{"):
        return _OBJECT, at + 1
    if data[at + 1] == ord("#"):
        return _length(data, at + 2), at + 11
    return _OPEN_ARRAY, at + 1
