"""Requests against their shapes: types, required members, lengths, ranges, patterns, enumerations.

The texts are AWS's own: `1 validation error detected: Value 'x!' at 'endpointName' failed to
satisfy constraint: Member must satisfy regular expression pattern: ...`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final

from botocore.utils import parse_to_aware_datetime

from mme_local.errors import ApiError, validation_error
from mme_local.service.model import pattern

Advice = Callable[[str, str], str]
"""From the name of an enumeration and a value that is not in it: what to do, or an empty text."""

_JSON_TOKENS: Final = {str: "STRING_VALUE", int: "NUMBER_VALUE", float: "NUMBER_VALUE"}
_JAVA_NAMES: Final = {
    "string": "a String",
    "integer": "an Integer",
    "long": "a Long",
    "float": "a Float",
    "double": "a Double",
    "boolean": "a Boolean",
    "timestamp": "a Timestamp",
    "structure": "a Structure",
    "list": "a List",
    "map": "a Map",
}


def no_advice(_enumeration: str, _value: str) -> str:
    """Say nothing beyond AWS's text."""
    return ""


def checked(shape: Any, value: Any, advice: Advice = no_advice) -> Any:
    """A request as its shape has it: members that AWS does not know are left out, as AWS does.

    Times become seconds since 1970.

    Raises:
        ApiError: ``SerializationException`` for a value of another type, ``ValidationException``
            with all other constraints that are not met.
    """
    check = _Check(advice)
    request = check.visit(shape, value, "")
    if found := check.found:
        errors = "1 validation error" if len(found) == 1 else f"{len(found)} validation errors"
        raise validation_error(f"{errors} detected: {'; '.join(found)}")
    return request


class _Check:
    def __init__(self, advice: Advice) -> None:
        self.advice = advice
        self.found: list[str] = []

    def visit(self, shape: Any, value: Any, path: str) -> Any:
        if value is None:
            self._note(" null", path, "Member must not be null")
            return None
        if shape.type_name == "structure":
            return self._structure(shape, value, path)
        if shape.type_name == "list":
            return self._list(shape, value, path)
        if shape.type_name == "map":
            return self._map(shape, value, path)
        scalar = _scalar(shape.type_name, value)
        for constraint in _unmet(shape, scalar):
            advice = self.advice(shape.name, scalar) if shape.metadata.get("enum") else ""
            self._note(_shown(shape, scalar), path, constraint + advice)
        return scalar

    def _structure(self, shape: Any, value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _wrong_type(value, "structure")
        result = {}
        for name, member in shape.members.items():
            inner = f"{path}.{_camel(name)}" if path else _camel(name)
            if value.get(name) is not None:
                result[name] = self.visit(member, value[name], inner)
            elif name in shape.required_members:
                self.visit(member, None, inner)
        return result

    def _list(self, shape: Any, value: Any, path: str) -> list[Any]:
        if not isinstance(value, list):
            raise _wrong_type(value, "list")
        for constraint in _unmet_size(shape, len(value), "length"):
            self._note("" if value else " '[]'", path, constraint)
        return [
            self.visit(shape.member, item, f"{path}.{number}.member")
            for number, item in enumerate(value, start=1)
        ]

    def _map(self, shape: Any, value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _wrong_type(value, "map")
        for constraint in _unmet_size(shape, len(value), "length"):
            self._note("" if value else " '{}'", path, constraint)
        result = {}
        for key, item in value.items():
            if any(_unmet(shape.key, key)):
                self._note_entry(key, item, path, "keys", shape.key)
            if shape.value.type_name in ("structure", "list", "map"):
                result[key] = self.visit(shape.value, item, f"{path}.{key}")
            elif item is None:
                self._note_entry(key, "null", path, "value", shape.value)
            else:
                result[key] = _scalar(shape.value.type_name, item)
                if any(_unmet(shape.value, result[key])):
                    self._note_entry(key, item, path, "value", shape.value)
        return result

    def _note(self, shown: str, path: str, constraint: str) -> None:
        self.found.append(f"Value{shown} at '{path}' failed to satisfy constraint: {constraint}")

    def _note_entry(self, key: str, value: Any, path: str, which: str, shape: Any) -> None:
        every = ", ".join((*_constraints(shape), "Member must not be null"))
        self._note(f" '{{{key}={value}}}'", path, f"Map {which} must satisfy constraint: [{every}]")


def _camel(name: str) -> str:
    return name[:1].lower() + name[1:]


def _shown(shape: Any, value: Any) -> str:
    return "" if shape.metadata.get("sensitive") else f" '{value}'"


def _scalar(type_name: str, value: Any) -> Any:
    """A value of the type, or SerializationException."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if type_name == "timestamp":
        return _seconds(value, number)
    if type_name in ("integer", "long"):
        fits = number and math.isfinite(value) and value == int(value)
        return int(value) if fits else _refuse(value, type_name)
    if type_name in ("float", "double"):
        return float(value) if number else _refuse(value, type_name)
    expected = {"string": str, "boolean": bool, "blob": bytes}[type_name]
    return value if isinstance(value, expected) else _refuse(value, type_name)


def _seconds(value: Any, number: bool) -> float:
    if number:
        return float(value)
    if not isinstance(value, str):
        raise _wrong_type(value, "timestamp")
    try:
        moment: datetime = parse_to_aware_datetime(value)
    except ValueError:
        raise _wrong_type(value, "timestamp") from None
    return moment.timestamp()


def _refuse(value: Any, type_name: str) -> Any:
    raise _wrong_type(value, type_name)


def _wrong_type(value: Any, type_name: str) -> ApiError:
    if isinstance(value, dict | list):
        text = "Start of structure or map found where not expected"
    else:
        token = _JSON_TOKENS.get(type(value)) or f"{json.dumps(value).upper()}_VALUE"
        text = f"{token} can not be converted to {_JAVA_NAMES[type_name]}"
    return ApiError("SerializationException", text)


def _unmet(shape: Any, value: Any) -> Iterator[str]:
    """The constraints of a scalar that a value of its type does not meet, as AWS words them."""
    rules = shape.metadata
    if isinstance(value, str):
        if rules.get("enum") and value not in rules["enum"]:
            yield f"Member must satisfy enum value set: [{', '.join(rules['enum'])}]"
        yield from _unmet_size(shape, len(value), "length")
        if rules.get("pattern") and not pattern(rules["pattern"]).fullmatch(value):
            yield f"Member must satisfy regular expression pattern: {rules['pattern']}"
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _unmet_size(shape, value, "value")


def _unmet_size(shape: Any, size: float, what: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if most is not None and size > most:
        yield f"Member must have {what} less than or equal to {most}"
    if least is not None and size < least:
        yield f"Member must have {what} greater than or equal to {least}"


def _constraints(shape: Any) -> Iterator[str]:
    """All constraints of a scalar: AWS lists every one for an entry of a map."""
    what = "length" if shape.type_name == "string" else "value"
    rules = shape.metadata
    if "max" in rules:
        yield f"Member must have {what} less than or equal to {rules['max']}"
    if "min" in rules:
        yield f"Member must have {what} greater than or equal to {rules['min']}"
    if "pattern" in rules:
        yield f"Member must satisfy regular expression pattern: {rules['pattern']}"
    if "enum" in rules:
        yield f"Member must satisfy enum value set: [{', '.join(rules['enum'])}]"
