"""What is checked of a model file's bytes before libxgboost sees them, and their version.

Some damaged files make libxgboost crash or allocate without end, so they are refused here. Knows
UBJSON and JSON as XGBoost writes them; must not know XGBoost's API, or where a file came from.
"""

from __future__ import annotations

import re
import struct
from typing import Any

import numpy as np
import orjson

from mme_handler.models.formats import damaged

Version = tuple[int, ...]

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


def check_ubj(name: str, data: bytearray) -> None:
    """Refuse a file that is cut short or nested so deeply that libxgboost would crash on it.

    The usual file is told by its last bytes, by how few containers it opens and by lengths that
    end inside it. Only a file that does not pass so is read through.

    Raises ModelLoadError.
    """
    tail = bytes(data[-_UBJ_VERSION_BYTES:])
    ends = list(_UBJ_VERSION.finditer(tail))
    whole = bool(ends) and tail[ends[-1].end() :] == b"}"
    if not whole or _ubj_openings(data) > _MAX_UBJ_OPENINGS or _ubj_length_too_large(data):
        check_ubj_throughout(name, data)


def check_ubj_throughout(name: str, data: bytearray) -> None:
    """Read a whole UBJSON file; refuse it when it is cut short, malformed or nested too deeply.

    This takes about as long as loading the model does.
    """
    try:
        _walk_ubj(data)
    except (IndexError, KeyError, struct.error) as error:
        raise damaged(name, "it is cut short or damaged") from error
    except ValueError as error:
        raise damaged(name, str(error)) from error


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


def check_json(name: str, data: bytearray) -> None:
    """Refuse JSON that is nested so deeply that libxgboost would crash on it."""
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = b"".join(data.translate(None, _NO_JSON_SYNTAX).split(b'"')[::2])
    for _ in range(_MAX_DEPTH):
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(brackets) <= _MAX_DEPTH:
            return  # What is left is unclosed, but shallow: the library says where it ends.
    raise damaged(name, "it is nested too deeply to be a model, or cut short")


def ubj_version(data: bytearray) -> Version | None:
    """Return the XGBoost version that a UBJSON file says it was written by."""
    at = data.rfind(_UBJ_VERSION_KEY)
    found = _UBJ_VERSION.match(data, at) if at >= 0 else None
    if found is None:
        return None
    return tuple(
        int.from_bytes(match[match.lastindex or 0], "big", signed=match[1] != b"U")
        for match in _UBJ_INTEGER.finditer(found[1])
    )


def json_version(data: bytearray) -> Version | None:
    """Return the XGBoost version that a JSON file says it was written by."""
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
