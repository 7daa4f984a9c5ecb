"""Settings: their names, defaults and limits."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AliasChoices, ValidationError

from mme_handler.settings import Settings, parse_bytes


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("MME_", "SAGEMAKER_")):
            monkeypatch.delenv(name)


# variable, value, setting, what it becomes
VARIABLES = [
    ("SAGEMAKER_BIND_TO_PORT", "8123", "port", 8123),
    ("MME_ADDRESS", "127.0.0.1", "address", "127.0.0.1"),
    ("SAGEMAKER_SAFE_PORT_RANGE", "9000-9010", "safe_port_range", "9000-9010"),
    ("MME_METRICS_PORT", "0", "metrics_port", 0),
    ("SAGEMAKER_MULTI_MODEL", "false", "multi_model", False),
    ("SAGEMAKER_MULTI_MODEL", "true", "multi_model", True),
    ("MME_MODEL", "/srv/model", "model", Path("/srv/model")),
    ("MME_MODELS", "/opt/ml/models", "models", Path("/opt/ml/models")),
    ("MME_HOSTS", "3", "hosts", 3),
    ("MME_ISOLATION", "process", "isolation", "process"),
    ("MME_MEMORY_BUDGET", "300m", "memory_budget", 300 << 20),
    ("MME_MODEL_MEMORY_LIMIT", "1.5g", "model_memory_limit", 3 << 29),
    ("MME_MODEL_TIMEOUT", "2.5", "model_timeout", 2.5),
    ("SAGEMAKER_MODEL_SERVER_TIMEOUT", "7", "model_timeout", 7),
    ("SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS", "8", "model_timeout", 8),
    ("SAGEMAKER_MODEL_SERVER_WORKERS", "4", "workers_per_model", 4),
    ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "20", "max_payload_mb", 20),
    ("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "text/csv", "default_accept", "text/csv"),
    ("SAGEMAKER_BATCH", "true", "batch", True),
    ("SAGEMAKER_INFERENCE_OUTPUT", "probability", "inference_output", "probability"),
    ("SAGEMAKER_INFERENCE_ENSEMBLE", "false", "inference_ensemble", False),
    ("MME_RESPONSE_SHAPE", "aws", "response_shape", "aws"),
    ("MME_LIBSVM_INDEX_BASE", "1", "libsvm_index_base", 1),
    ("MME_DEVICE", "cpu", "device", "cpu"),
    ("MME_ALLOW_PICKLE", "true", "allow_pickle", True),
    ("MME_INSTALL_REQUIREMENTS", "true", "install_requirements", True),
    ("SAGEMAKER_SUBMIT_DIRECTORY", "/opt/code", "submit_directory", Path("/opt/code")),
    ("SAGEMAKER_PROGRAM", "serve.py", "program", "serve.py"),
    ("SAGEMAKER_PROGRAM", "serve", "program", "serve.py"),
    ("MME_LOG_FORMAT", "json", "log_format", "json"),
    ("MME_LOG_REQUESTS", "1", "log_requests", True),
]


@pytest.mark.parametrize(("variable", "text", "name", "value"), VARIABLES)
def test_from_the_environment(monkeypatch, variable, text, name, value):
    monkeypatch.setenv(variable, text)
    assert getattr(Settings(), name) == value


def test_every_setting_is_in_that_table():
    names = set()
    for field in Settings.model_fields.values():
        assert isinstance(field.validation_alias, AliasChoices)
        names.update(field.validation_alias.choices)
    assert names == {variable for variable, *_ in VARIABLES}
    assert all(re.fullmatch("(MME|SAGEMAKER)_[A-Z_]+", name) for name in names)


def test_defaults():
    settings = Settings()
    assert (settings.port, settings.metrics_port) == (8080, 8082)
    assert settings.multi_model is None
    assert settings.single_model is None
    assert settings.workers_per_model == 1
    assert settings.models == Path("/")
    assert settings.hosts == os.cpu_count()
    assert settings.memory_budget is settings.model_memory_limit is settings.log_format is None
    assert settings.max_payload == 6 << 20
    assert settings.default_accept == "application/json"


def test_an_empty_variable_is_as_good_as_none(monkeypatch):
    for variable, *_ in VARIABLES:
        monkeypatch.setenv(variable, "")
    assert Settings().model_dump() == Settings.model_construct().model_dump()


def test_an_argument_comes_before_the_environment(monkeypatch):
    monkeypatch.setenv("SAGEMAKER_BIND_TO_PORT", "8123")
    assert Settings(port=8124).port == 8124


def test_our_timeout_comes_before_sagemakers(monkeypatch):
    monkeypatch.setenv("SAGEMAKER_MODEL_SERVER_TIMEOUT", "7")
    monkeypatch.setenv("MME_MODEL_TIMEOUT", "5")
    assert Settings().model_timeout == 5


def test_a_single_model(monkeypatch, tmp_path):
    monkeypatch.setenv("MME_MODEL", str(tmp_path))
    monkeypatch.setenv("MME_HOSTS", "3")
    assert Settings().single_model is None  # there is nothing in it
    (tmp_path / "model.ubj").touch()
    assert Settings().single_model == tmp_path
    assert Settings().workers_per_model == 3
    assert Settings(workers=1).workers_per_model == 1
    monkeypatch.setenv("SAGEMAKER_MULTI_MODEL", "true")
    assert Settings().single_model is None
    monkeypatch.setenv("SAGEMAKER_MULTI_MODEL", "false")
    assert Settings(model="/nowhere").single_model == Path("/nowhere")


def test_a_batch_transform_answers_in_lines(monkeypatch):
    monkeypatch.setenv("SAGEMAKER_BATCH", "true")
    assert Settings().default_accept == "text/csv"
    monkeypatch.setenv("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "application/jsonlines")
    assert Settings().default_accept == "application/jsonlines"


def test_unknown_outputs_are_refused(monkeypatch):
    monkeypatch.setenv("SAGEMAKER_INFERENCE_OUTPUT", "probabilty")
    with pytest.raises(ValidationError, match="did you mean 'probability'"):
        Settings()


def test_code_for_models_that_bring_none(tmp_path):
    assert Settings(submit_directory=tmp_path).script is None
    (tmp_path / "inference.py").touch()
    assert Settings(submit_directory=tmp_path).script == tmp_path / "inference.py"


def test_unknown_variables_are_no_error(monkeypatch):
    monkeypatch.setenv("SAGEMAKER_REGION", "eu-central-1")
    monkeypatch.setenv("MME_TYPO", "1")
    Settings()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("123", 123),
        ("123b", 123),
        ("1k", 1024),
        ("300m", 314_572_800),
        ("300M", 314_572_800),
        ("300 MiB", 314_572_800),
        ("300mb", 314_572_800),
        ("1.5g", 1_610_612_736),
        (" 2 GiB ", 2 << 30),
    ],
)
def test_bytes(text, value):
    assert parse_bytes(text) == value


@pytest.mark.parametrize("text", ["m", "-1m", "1t", "1 2", "1e6", "0x10", "1.m", "lots", ".5g"])
def test_no_bytes(text):
    with pytest.raises(ValueError, match="is not a size: write bytes, or a number with k, m or g"):
        parse_bytes(text)


@given(st.integers(0, 2**50))
def test_any_number_is_itself(number):
    assert parse_bytes(str(number)) == parse_bytes(number) == number


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("SAGEMAKER_BIND_TO_PORT", "0"),
        ("SAGEMAKER_BIND_TO_PORT", "32767"),
        ("SAGEMAKER_BIND_TO_PORT", "http"),
        ("SAGEMAKER_SAFE_PORT_RANGE", "9000"),
        ("SAGEMAKER_SAFE_PORT_RANGE", "a-b"),
        ("MME_METRICS_PORT", "65536"),
        ("MME_HOSTS", "0"),
        ("MME_ISOLATION", "some"),
        ("MME_MEMORY_BUDGET", "0"),
        ("MME_MEMORY_BUDGET", "much"),
        ("MME_MODEL_MEMORY_LIMIT", "-1"),
        ("MME_MODEL_TIMEOUT", "0"),
        ("SAGEMAKER_MODEL_SERVER_WORKERS", "0"),
        ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "0"),
        ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "2001"),
        ("MME_LOG_FORMAT", "xml"),
    ],
)
def test_refused_and_named(monkeypatch, variable, text):
    monkeypatch.setenv(variable, text)
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert variable in str(caught.value)


def test_the_highest_port(monkeypatch):
    monkeypatch.setenv("SAGEMAKER_BIND_TO_PORT", "32766")
    assert Settings().port == 32766


@pytest.mark.parametrize(
    ("environment", "metrics_port"),
    [
        ({"SAGEMAKER_SAFE_PORT_RANGE": "9000-9005"}, 9000),
        ({"SAGEMAKER_SAFE_PORT_RANGE": "9000-9005", "SAGEMAKER_BIND_TO_PORT": "9000"}, 9001),
        ({"SAGEMAKER_SAFE_PORT_RANGE": "9000-9005", "SAGEMAKER_BIND_TO_PORT": "9001"}, 9000),
        ({"SAGEMAKER_SAFE_PORT_RANGE": "9000-9005", "MME_METRICS_PORT": "8200"}, 8200),
        ({"SAGEMAKER_SAFE_PORT_RANGE": "9000-9000", "SAGEMAKER_BIND_TO_PORT": "9000"}, 0),
    ],
)
def test_safe_port_range(monkeypatch, environment, metrics_port):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Settings().metrics_port == metrics_port
