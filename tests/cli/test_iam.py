from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mme_cli.main import app
from support.aws import ROLE, aws


@pytest.fixture(scope="module", autouse=True)
def _aws() -> Iterator[None]:
    with aws():
        yield


@pytest.fixture(autouse=True)
def described(tmp_path: Path, monkeypatch) -> Path:
    """A directory with mme.yaml, where the command runs."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mme.yaml"
    file.write_text(f"name: houses\nrole: {ROLE}\n")
    return file


def iam(*arguments: str) -> Result:
    return CliRunner().invoke(app, ("iam", *arguments), env={"NO_COLOR": "1", "TERM": "dumb"})


@pytest.mark.parametrize(
    ("arguments", "sids"),
    [
        (["trust"], {"SageMaker"}),
        (["execution"], {"Models", "ListModels", "Login", "Image", "Logs", "Metrics"}),
        (["caller"], {"Invoke"}),
        (["caller", "--aliases"], {"Invoke", "Names"}),
    ],
)
def test_a_document_and_nothing_else_is_printed(arguments, sids):
    result = iam(*arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    policy = json.loads(result.stdout)
    assert policy["Version"] == "2012-10-17"
    assert {each["Sid"] for each in policy["Statement"]} == sids


def test_options_reach_the_policy():
    assert '"sagemaker:TargetModel"' in iam("caller", "--models", "company_a/*").stdout
    assert '"s3:PutObject"' in iam("execution", "--training").stdout
    assert "endpoint/other" in iam("deployer", "--name", "other").stdout
    assert "eu-west-1" in iam("caller", "--region", "eu-west-1").stdout


def test_without_credentials_one_line_says_so(monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    result = iam("trust")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("mme: no AWS credentials were found")
    assert len(result.stderr.splitlines()) == 1


def test_without_a_description(described):
    described.unlink()
    result = iam("execution")
    assert result.exit_code == 2
    assert "name is not given (mme init writes a file with it)" in result.stderr
