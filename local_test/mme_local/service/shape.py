"""Answers as their shapes have them: only members that AWS knows, of the types that AWS gives."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

_MILLISECONDS = 3
_SCALARS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
}


class ShapeError(TypeError):
    """An answer that AWS would not give: a mistake in this package."""


def shaped(shape: Any | None, value: Any, path: str = "answer") -> Any:
    """An answer ready for JSON: times in seconds, members without a value left out.

    Members that the shape does not have are left out too, so that a description may be made of the
    request it describes.

    Raises:
        ShapeError: a required member is missing, or a value is of another type.
    """
    if shape is None:  # an operation that answers with nothing
        return {}
    if shape.type_name == "structure":
        return _structure(shape, value, path)
    if shape.type_name == "list":
        if not isinstance(value, list | tuple):
            raise ShapeError(f"{path} must be a list: {value!r}")
        return [shaped(shape.member, item, f"{path}[{i}]") for i, item in enumerate(value)]
    if shape.type_name == "map":
        items = _mapping(value, path).items()
        return {str(key): shaped(shape.value, item, f"{path}.{key}") for key, item in items}
    if shape.type_name == "timestamp":
        return _seconds(value, path)
    kinds = _SCALARS[shape.type_name]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise ShapeError(f"{path} must be a {shape.type_name}: {value!r}")
    return value


def _structure(shape: Any, value: Any, path: str) -> dict[str, Any]:
    given = _mapping(value, path)
    members = {name: given[name] for name in shape.members if given.get(name) is not None}
    if missing := [name for name in shape.required_members if name not in members]:
        raise ShapeError(f"{path} lacks {', '.join(missing)}")
    return {
        name: shaped(shape.members[name], item, f"{path}.{name}") for name, item in members.items()
    }


def _mapping(value: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ShapeError(f"{path} must be a mapping: {value!r}")
    return value


def _seconds(value: Any, path: str) -> float:
    if isinstance(value, datetime):
        return round(value.timestamp(), _MILLISECONDS)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return round(float(value), _MILLISECONDS)
    raise ShapeError(f"{path} must be a time: {value!r}")
