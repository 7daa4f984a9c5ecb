import sys
from pathlib import Path

import numpy as np
import pytest
import xgboost as xgb
from typer.testing import CliRunner, Result

from mme_cli.main import app


def mme(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(app, arguments, env={**environment, "NO_COLOR": "1", "TERM": "dumb"})


@pytest.mark.parametrize("arguments", [("--help",), ()])
def test_help_names_the_commands(arguments: tuple[str, ...]):
    output = mme(*arguments).output
    assert "serve" in output
    assert "convert" in output


def test_help_of_serve_names_its_options_and_their_variables():
    result = mme("serve", "--help")

    assert result.exit_code == 0
    for word in ("--port", "SAGEMAKER_BIND_TO_PORT", "--models", "MME_MODELS"):
        assert word in result.output


@pytest.mark.parametrize("port", ["32767", "40000"])
def test_a_port_that_mms_cannot_use_is_refused_with_the_limit(port: str):
    result = mme("serve", "--port", port)

    assert result.exit_code == 2
    assert result.output.startswith("mme: port: ")
    assert "32766" in result.output


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("MME_MEMORY_BUDGET", "plenty", "'plenty' is not a size"),
        ("MME_MEMORY_BUDGET", "0", "greater than or equal to 1"),
        ("MME_MODEL_MEMORY_LIMIT", "1t", "'1t' is not a size"),
        ("MME_ISOLATION", "none", "'auto' or 'process'"),
        ("SAGEMAKER_BIND_TO_PORT", "http", "valid integer"),
    ],
)
def test_a_bad_setting_is_named_with_the_reason(variable: str, value: str, reason: str):
    result = mme("serve", **{variable: value})

    assert result.exit_code == 2
    assert result.output.startswith(f"mme: {variable}: ")
    assert reason in result.output


def test_a_single_model_that_is_not_there():
    result = mme("serve", SAGEMAKER_MULTI_MODEL="false", MME_MODEL="/nowhere")

    assert result.exit_code == 2
    assert "there is no model directory /nowhere: set SAGEMAKER_MULTI_MODEL=true" in result.output


def test_models_must_be_a_directory_that_exists():
    result = mme("serve", "--models", "/nowhere")

    assert result.exit_code == 2
    assert "/nowhere" in result.output


def test_convert_says_what_it_wrote_and_refuses_in_one_line(tmp_path: Path):
    rows = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    booster = xgb.train({"max_depth": 2, "nthread": 1}, xgb.DMatrix(rows, rows[:, 0]), 4)
    source, target = tmp_path / "model.ubj", tmp_path / "model.json"
    booster.save_model(source)
    arguments = ("convert", str(source), str(target), "--python", sys.executable)

    first, again = mme(*arguments), mme(*arguments)

    assert (first.exit_code, again.exit_code) == (0, 2)
    assert first.output == f"{target}: 3 features, 4 rounds, read by XGBoost {xgb.__version__}\n"
    assert again.output.startswith(f"mme: {target} exists: ")
    assert len(again.output.splitlines()) == 1


def test_convert_takes_a_version_or_an_interpreter():
    result = mme("convert", "a", "b.ubj", "--xgboost", "3.0.5", "--python", "python3")

    assert result.exit_code == 2
    assert "not both" in result.output


@pytest.mark.parametrize(
    ("command", "default"),
    [(("verify",), "[a free one]"), (("push",), "[mme.yaml's, or as AWS's tools find it]")],
)
def test_help_tells_defaults(command, default) -> None:
    text = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200"}).output
    assert default in text
