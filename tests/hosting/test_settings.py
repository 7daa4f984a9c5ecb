from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mme_hosting.errors import HostingError
from mme_hosting.settings import Autoscaling, load


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)


def write(text: str, name: str = "mme.yaml") -> Path:
    Path(name).write_text(text)
    return Path(name)


def refused(file: Path | None = None, **flags) -> str:
    with pytest.raises(HostingError) as caught:
        load(file, flags)
    return str(caught.value)


def test_the_file_then_the_environment_then_flags(monkeypatch) -> None:
    write("name: houses\ninstances: 2\ninstance_type: ml.m5.large\nautoscaling: {min: 1, max: 8}\n")
    monkeypatch.setenv("MME_DEPLOY_INSTANCES", "3")
    monkeypatch.setenv("MME_DEPLOY_AUTOSCALING__MIN", "2")
    found = load(None, {"instances": 4, "role": None})
    assert (found.name, found.instance_type, found.instances) == ("houses", "ml.m5.large", 4)
    assert load().instances == 3
    assert found.autoscaling == Autoscaling(min=2, max=8)


def test_no_file_is_needed_where_all_is_said_otherwise(monkeypatch) -> None:
    monkeypatch.setenv("MME_DEPLOY_NAME", "houses")
    monkeypatch.setenv("MME_DEPLOY_TAGS", '{"team": "prices"}')
    assert load().tags == {"team": "prices"}
    assert load(None, {"name": "other"}).name == "other"


def test_the_nearest_setting_is_told() -> None:
    write("name: houses\nautoscalling: {}\n")
    assert "autoscalling is not a setting: did you mean autoscaling?" in refused()
    write("name: houses\nautoscaling: {maximum: 3}\n")
    assert "autoscaling.maximum is not a setting: " in refused()


def test_a_misspelt_variable_is_not_passed_over(monkeypatch) -> None:
    write("name: houses\n")
    monkeypatch.setenv("MME_DEPLOY_INSTANCE", "2")
    assert refused() == (
        "the environment variable MME_DEPLOY_INSTANCE is not a setting: did you mean instances?"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "name is not given (mme init writes a file with it)"),
        ("name: [", "mme.yaml is not YAML in line 1, column 8: "),
        ("name: houses\ntags: {since: 2026-13-01}", "mme.yaml is not YAML"),
        ("a: " + "[" * 5000, "mme.yaml is not YAML"),
        ("- name", "mme.yaml is not settings"),
        ("name: houses_1", "(-?[A-Za-z0-9])*$', as houses does"),
        ("name: " + "a" * 51, "name: "),
        ("name: houses\nmodels: bucket/prefix", "models: "),
        ("name: houses\nrole: admin", "role: "),
        ("name: houses\ninstance_type: m5.large", "$', as ml.m5.large does"),
        ("name: houses\nautoscaling: {min: 3, max: 2}", "max 2 is less than min 3"),
        ("name: houses\nmetrics: {publish_seconds: 15}", "metrics.publish_seconds: "),
        ("name: houses\nvpc: {subnets: [], security_groups: [sg-1]}", "vpc.subnets: "),
        ("name: !!python/object/apply:os.getcwd []", "mme.yaml is not YAML in "),
        ("name: houses\n1: x", "1 is not a setting: "),
        ("name: houses\n_env_file: other", "_env_file is not a setting: "),
        ("name: houses\nautoscaling: {1: 2}", "autoscaling.1"),
        ("name: houses\nenvironment: {MME_HOSTS: 2}", "environment.MME_HOSTS: Input should be "),
        ("name: houses\nenvironment: {A-B: x}", "environment.A-B"),
        ("name: houses\nrole: 'arn:aws:iam::123456789012:role/a b'", "role: "),
        ("name: houses\nalarms: {notify: 'my arn:aws:sns:x'}", ":on-call does"),
        ("name: houses\nkms_key: my key", "kms_key: "),
    ],
)
def test_what_is_wrong_is_said(text, said) -> None:
    write(text)
    assert said in refused()


@pytest.mark.parametrize(
    "line",
    [
        'API_KEY: "hunter2',
        "API_KEY: a: hunter2",
        "API_KEY: *hunter2",
        "API_KEY: !hunter2",
        "API-KEY: hunter2",
        "API_KEY: [hunter2]",
        "API_KEY: " + "hunter2" * 200,
    ],
)
def test_no_secret_is_repeated(line) -> None:
    write(f"name: houses\nenvironment:\n  {line}\n")
    assert "hunter2" not in refused()


def test_a_file_that_is_named_must_be_there() -> None:
    assert refused(Path("other.yaml")) == "there is no other.yaml: mme init writes one"
    Path("directory.yaml").mkdir()
    assert "directory.yaml cannot be read" in refused(Path("directory.yaml"))


def test_all_that_is_wrong_is_told_at_once() -> None:
    write("instances: 0\nname: houses\nregionn: x\n")
    said = refused()
    assert "instances: " in said
    assert "regionn is not a setting: did you mean region?" in said


@given(st.dictionaries(st.text(min_size=1), st.integers() | st.text() | st.none(), max_size=4))
def test_any_mapping_is_taken_or_refused_in_words(content) -> None:
    file = write(yaml.safe_dump(content), "any.yaml")
    try:
        said = repr(load(file))
    except HostingError as error:
        said = str(error)
    assert "\n" not in said
