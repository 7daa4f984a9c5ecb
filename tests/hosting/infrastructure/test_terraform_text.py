"""The Terraform module as it is written, wherever there is no Terraform."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hcl2
import pytest

from mme_hosting.settings import Deployment

MODULE = Path(__file__).parents[3] / "hosting/terraform"
SCHEMA = json.loads(Path(__file__).with_name("aws_provider_schema.json").read_text())["resources"]
# What every resource of Terraform has, besides what its provider says.
META = {"count", "for_each", "depends_on", "lifecycle"}
# Settings without a variable: the provider has its own region, and knows no metrics yet; only mme
# checks an endpoint's health.
NO_VARIABLE = {"region", "metrics", "health_check"}
NO_SETTING = {"create_role"}


def _parsed() -> dict[str, list[Any]]:
    """All files as one: kinds of blocks, and the blocks."""
    together: dict[str, list[Any]] = {}
    for file in sorted(MODULE.glob("*.tf")):
        with file.open() as source:
            for kind, blocks in hcl2.load(source).items():
                together.setdefault(kind, []).extend(blocks)
    return together


PARSED = _parsed()
TEXT = "\n".join(file.read_text() for file in sorted(MODULE.glob("*.tf")))


def _labelled(kind: str) -> Iterator[tuple[str, Any]]:
    for block in PARSED[kind]:
        for label, body in block.items():
            if not label.startswith("__"):
                yield label.strip('"'), body


def _described() -> Iterator[Any]:
    for prefix, kind in (("", "resource"), ("data.", "data")):
        for label, named in _labelled(kind):
            for name, body in named.items():
                if prefix + label in SCHEMA:
                    own = f"{prefix}{label}"
                    yield pytest.param(SCHEMA[own], body, id=f"{own}.{name.strip(chr(34))}")


def _check(schema: dict[str, Any], body: dict[str, Any], outermost: bool = True) -> None:
    given = {name for name in body if not name.startswith("__")} - {"dynamic"}
    if outermost:
        given -= META
    dynamic = [
        (label.strip('"'), each)
        for block in body.get("dynamic", [])
        for label, each in block.items()
        if not label.startswith("__")
    ]
    assert given <= schema["attributes"].keys() | schema["blocks"].keys()
    assert {label for label, _ in dynamic} <= schema["blocks"].keys()
    needed = {
        name
        for each in (schema["attributes"], schema["blocks"])
        for name, about in each.items()
        if about["required"]
    }
    assert needed <= given | {label for label, _ in dynamic}
    for name, about in schema["attributes"].items():
        if name in given:
            _check_type(about["type"], body[name])
    for name, about in schema["blocks"].items():
        for inner in body.get(name, []):
            _check(about, inner, outermost=False)
        for inner in (each["content"][0] for label, each in dynamic if label == name):
            _check(about, inner, outermost=False)


def _check_type(kind: str, value: Any) -> None:
    """Of what is written out; an expression's type is Terraform's to find."""
    if isinstance(value, str) and value.startswith("${"):
        return
    of = {"string": str, "number": (int, float), "bool": bool, "list": list, "map": dict}[kind]
    assert isinstance(value, of)


@pytest.mark.parametrize(("schema", "body"), list(_described()))
def test_the_provider_knows_all_that_is_set(schema: dict[str, Any], body: dict[str, Any]) -> None:
    _check(schema, body)


def test_every_resource_is_checked() -> None:
    known = {label for label, _ in _labelled("resource")}
    assert known == {name for name in SCHEMA if not name.startswith("data.")}


def test_every_variable_is_declared_and_used() -> None:
    declared = dict(_labelled("variable"))
    used = set(re.findall(r"\bvar\.(\w+)", TEXT))
    outside = "\n".join(
        file.read_text() for file in MODULE.glob("*.tf") if file.name != "variables.tf"
    )
    assert used == declared.keys()
    assert declared.keys() == set(re.findall(r"\bvar\.(\w+)", outside))
    assert all(body["description"] and body["type"] for body in declared.values())


def test_every_local_value_and_resource_that_is_named_exists() -> None:
    values = {name for block in PARSED["locals"] for name in block}
    assert set(re.findall(r"\blocal\.(\w+)", TEXT)) <= values
    there = {(label, name.strip('"')) for label, body in _labelled("resource") for name in body}
    named = set(re.findall(r"\b(aws_\w+)\.(\w+)", re.sub(r"\bdata\.aws_\w+", "", TEXT)))
    assert named <= there


def test_a_variable_is_a_setting_with_its_default() -> None:
    declared = dict(_labelled("variable"))
    fields = Deployment.model_fields

    assert declared.keys() == (fields.keys() - NO_VARIABLE) | NO_SETTING
    for name in declared.keys() - NO_SETTING - {"image"}:
        default = declared[name].get("default", "none")
        if fields[name].is_required():
            assert default == "none"
        else:
            default = None if default == "${null}" else default
            default = default.strip('"') if isinstance(default, str) else default
            assert default == fields[name].get_default(call_default_factory=True), name


def test_outputs_say_what_they_are() -> None:
    outputs = dict(_labelled("output"))
    assert outputs.keys() == {"endpoint", "endpoint_arn", "models", "role"}
    assert all(body["description"] and body["value"] for body in outputs.values())
