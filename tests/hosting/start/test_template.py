"""What `mme init` writes is what the settings are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from mme_hosting.errors import HostingError
from mme_hosting.settings import Deployment, load
from mme_hosting.start.template import SCHEMA_FILE, render, schema, write

ROOT = Path(__file__).parents[3]
GIVEN = {
    "name": "houses",
    "models": "s3://bucket/houses/models/",
    "role": "arn:aws:iam::123456789012:role/SageMakerRole",
    "instance_type": "ml.m5.xlarge",
}
CHECKER = jsonschema.Draft202012Validator(json.loads(schema()))


def uncommented(text: str) -> str:
    """The text with every setting in force: a setting's # is followed by no single space."""
    return re.sub(r"^#(?! \S)", "", text, flags=re.MULTILINE)


def test_the_file_says_what_was_given_and_all_else_is_the_default(tmp_path):
    file = tmp_path / "mme.yaml"
    write(file, GIVEN)
    assert load(file) == Deployment(**GIVEN)
    write(file, {"name": "houses"}, replace=True)
    assert load(file) == Deployment(name="houses")


def test_every_setting_is_there_with_its_docstring():
    text = render({"name": "houses"})
    prose = " ".join(re.findall(r"^#(?:  #)? (\S.*)$", text, re.MULTILINE))
    sections = [section for name, section in _sections().items() if name != "Deployment"]
    for fields in (Deployment.model_fields, *(each.model_fields for each in sections)):
        for name, field in fields.items():
            assert re.search(rf"^(#|#  )?{name}:", text, re.MULTILINE), name
            assert field.description, name
            assert " ".join(field.description.split()) in prose, name


def _sections() -> dict[str, Any]:
    from mme_hosting import settings

    return {
        name: each
        for name, each in vars(settings).items()
        if isinstance(each, type) and issubclass(each, settings._Section)
        if each is not settings._Section
    }


def test_with_every_comment_taken_away_it_still_holds(tmp_path):
    """The values after a # are ones that a setting may have, and defaults are the real ones."""
    file = tmp_path / "mme.yaml"
    file.write_text(uncommented(render({"name": "houses"})))
    found = load(file)
    assert set(yaml.safe_load(file.read_text())) == set(Deployment.model_fields)
    assert found.vpc
    assert found.health_check
    plain = Deployment(name="houses")
    for name in ("instances", "cache_models", "network_isolation", "metrics", "instance_type"):
        assert getattr(found, name) == getattr(plain, name)
    assert found.autoscaling == type(found.autoscaling)()
    assert CHECKER.is_valid(yaml.safe_load(file.read_text()))


def test_editors_find_the_schema_by_the_first_line(tmp_path):
    write(tmp_path / "mme.yaml", GIVEN)
    first = (tmp_path / "mme.yaml").read_text().splitlines()[0]
    assert first == f"# yaml-language-server: $schema={SCHEMA_FILE}"
    assert (tmp_path / SCHEMA_FILE).read_text() == schema()


def test_the_schema_of_the_documentation_is_that_of_the_settings():
    """Write it anew with: mme init --schema > docs/mme.schema.json."""
    assert (ROOT / "docs" / SCHEMA_FILE).read_text() == schema()


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (GIVEN, None),
        ({"name": "houses", "autoscaling": {"max": 3}, "alarms": {"cache_hit": None}}, None),
        ({}, "'name' is a required property"),
        ({"name": "houses", "instance": 3}, "'instance' was unexpected"),
        ({"name": "houses", "vpc": {"subnets": []}}, None),
        ({"name": "ho_uses"}, "'ho_uses' does not match"),
        ({"name": "houses", "metrics": {"publish_seconds": 61}}, "61 is not one of"),
    ],
)
def test_the_schema_takes_what_the_settings_take(content, where):
    try:
        Deployment.model_validate(content)
        taken = True
    except ValueError:
        taken = False
    found = list(CHECKER.iter_errors(content))
    assert (not found) == taken
    if where:
        assert where in str(found[0])


def test_the_schema_says_what_a_setting_means():
    properties = json.loads(schema())["properties"]
    assert properties["volume_gb"]["description"].startswith("Size of the volume")
    assert all(each.get("description") for each in properties.values())


def test_a_file_that_is_there_stays(tmp_path):
    file = tmp_path / "mme.yaml"
    file.write_text("name: mine\n")
    with pytest.raises(HostingError, match=r"mme.yaml exists: --force replaces it"):
        write(file, GIVEN)
    assert file.read_text() == "name: mine\n"
    assert not (tmp_path / SCHEMA_FILE).exists()
    write(file, GIVEN, replace=True)
    assert load(file) == Deployment(**GIVEN)


def test_a_wrong_setting_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(HostingError, match="instance_type: String should match"):
        write(tmp_path / "mme.yaml", {"name": "houses", "instance_type": "m5.large"})
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(HostingError, match="cannot be written"):
        write(tmp_path / "none" / "mme.yaml", GIVEN)
