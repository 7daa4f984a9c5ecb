"""mme.yaml as it begins, and its JSON Schema, both made of the settings and their docstrings.

Every setting is there. Those that nothing is given for have a ``#`` before their first letter:
without it, the line says what holds anyway, or an example where nothing does.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, Final, get_args

import orjson
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mme_hosting.errors import HostingError
from mme_hosting.settings import Deployment, check

SCHEMA_FILE: Final = "mme.schema.json"

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_WIDTH: Final = 92
_HEAD: Final = f"""\
# yaml-language-server: $schema={SCHEMA_FILE}

# An endpoint, as mme deploy makes it. Only its name must be given. A line that begins with # and a
# setting says what holds without it, or what it could say.
"""


def render(given: Mapping[str, Any]) -> str:
    """The file's text.

    Args:
        given: settings that are to be in force, by name.

    Raises:
        HostingError: one of them is wrong.
    """
    check(given, "mme init")
    blocks = (
        "\n".join(_setting(name, field, given.get(name)))
        for name, field in Deployment.model_fields.items()
    )
    return f"{_HEAD}\n{chr(10).join(f'{block}{chr(10)}' for block in blocks)}"


def schema() -> str:
    """The schema of mme.yaml, for editors and for programs that check one."""
    content = {"$schema": _DIALECT, **Deployment.model_json_schema()}
    content["title"] = "mme.yaml"
    content["description"] = "An endpoint, and all that belongs to it."
    return orjson.dumps(content, option=orjson.OPT_INDENT_2).decode() + "\n"


def write(file: Path, given: Mapping[str, Any], replace: bool = False) -> None:
    """Write the file, and its schema beside it.

    Raises:
        HostingError: it exists and is not to be replaced, it cannot be written, or a setting is
            wrong; nothing is changed then.
    """
    text = render(given)
    try:
        with file.open("w" if replace else "x") as target:
            target.write(text)
        (file.parent / SCHEMA_FILE).write_text(schema())
    except FileExistsError:
        raise HostingError(f"{file} exists: --force replaces it") from None
    except OSError as error:
        raise HostingError(f"{file} cannot be written: {error}") from None


def _setting(name: str, field: FieldInfo, value: Any) -> Iterator[str]:
    """What it is, and its line; with a ``#`` before it if it has no `value`."""
    section = _section(field)
    yield from _prose(field, section)
    if value is not None:
        yield _line(name, value)
        return
    if section is None:
        yield f"#{_line(name, _shown(field))}"
        return
    yield f"#{name}:"
    for inner, each in section.model_fields.items():
        yield from (f"#  {line}" for line in (*_prose(each), _line(inner, _shown(each))))


def _prose(field: FieldInfo, section: type[BaseModel] | None = None) -> list[str]:
    text = " ".join(f"{section.__doc__ if section else ''} {field.description}".split())
    return textwrap.wrap(
        text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )


def _line(name: str, value: Any) -> str:
    written = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
    return f"{name}: {written.removesuffix(f'...{chr(10)}').strip()}"


def _shown(field: FieldInfo) -> Any:
    """The default, or an example where that is nothing."""
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    if default or default is False or default == 0 or not field.examples:
        return default
    return field.examples[0]


def _section(field: FieldInfo) -> type[BaseModel] | None:
    """The settings within it, if it is a section."""
    kinds = [each for each in get_args(field.annotation) if each is not NoneType]
    kind = kinds[0] if kinds else field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
