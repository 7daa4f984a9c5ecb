from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from typer.testing import CliRunner, Result

from mme_cli.main import app
from mme_hosting.iam.policies import trust
from mme_hosting.settings import Deployment, load
from mme_hosting.start.template import SCHEMA_FILE, schema
from support.aws import ACCOUNT, REGION, aws, reset

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "sagemaker.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}
PREFIX = f"s3://sagemaker-{REGION}-{ACCOUNT}"


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with aws() as endpoint:
        yield endpoint


@pytest.fixture(autouse=True)
def directory(moto, tmp_path: Path, monkeypatch) -> Path:
    reset(moto)
    monkeypatch.delenv("AWS_SAGEMAKER_ROLE", raising=False)
    here = tmp_path / "house_prices"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


def init(*arguments: str) -> Result:
    return CliRunner().invoke(app, ("init", *arguments), env={"NO_COLOR": "1", "TERM": "dumb"})


def make_role(name: str, service: str = "sagemaker.amazonaws.com", path: str = "/") -> str:
    document = json.dumps(TRUST).replace("sagemaker.amazonaws.com", service)
    made = boto3.client("iam").create_role(
        RoleName=name, Path=path, AssumeRolePolicyDocument=document
    )
    return str(made["Role"]["Arn"])


def test_what_the_account_suggests_is_filled_in(directory):
    role = make_role("models")
    make_role("functions", "lambda.amazonaws.com")
    make_role("AWSServiceRoleForSageMaker", path="/aws-service-role/sagemaker.amazonaws.com/")
    result = init("--name", "houses")
    assert (result.exit_code, result.stderr) == (0, "")
    assert load() == Deployment(
        name="houses", region=REGION, models=f"{PREFIX}/houses/models/", role=role
    )
    assert (directory / SCHEMA_FILE).read_text() == schema()


def test_the_role_of_the_environment_goes_before_those_of_the_account(monkeypatch):
    make_role("models")
    role = f"arn:aws:iam::{ACCOUNT}:role/of-the-environment"
    monkeypatch.setenv("AWS_SAGEMAKER_ROLE", role)
    assert init("--name", "houses").exit_code == 0
    assert load().role == role


def test_of_several_roles_none_is_taken_unasked():
    make_role("one")
    make_role("two")
    result = init("--name", "houses")
    assert result.exit_code == 0
    assert "2 roles trust SageMaker: write role: yourself" in result.stderr
    assert load().role is None


def test_options_go_before_suggestions(monkeypatch):
    role = make_role("models")
    given = ("--name", "h", "--models", "s3://bucket/h/", "--instance-type", "ml.c5.large")
    assert init(*given, "--region", "eu-west-1", "--role", f"{role}-2").exit_code == 0
    monkeypatch.delenv("AWS_SAGEMAKER_ROLE", raising=False)
    found = load()
    assert (found.region, found.models, found.role) == ("eu-west-1", "s3://bucket/h/", f"{role}-2")
    assert found.instance_type == "ml.c5.large"


def test_the_name_is_the_directorys():
    assert init("--local").exit_code == 0
    assert load() == Deployment(name="house-prices")


def test_without_credentials_prefix_and_role_stay_comments(monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    result = init()
    assert result.exit_code == 0
    assert "no AWS credentials were found" in result.stderr
    assert "stays a comment" in result.stderr
    assert load() == Deployment(name="house-prices")


def test_a_file_that_is_there_stays(directory):
    (directory / "mme.yaml").write_text("name: mine\n")
    result = init("--local")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "mme: mme.yaml exists: --force replaces it\n"
    assert load().name == "mine"
    assert init("--local", "--force").exit_code == 0
    assert load().name == "house-prices"


@pytest.mark.parametrize(
    "wrong", [("--name", "ho_uses"), ("--role", "models"), ("--instance-type", "m5.large")]
)
def test_a_wrong_option_is_refused_in_one_line(directory, wrong):
    result = init(*wrong)
    assert (result.exit_code, result.stdout) == (2, "")
    setting = wrong[0].removeprefix("--").replace("-", "_")
    assert result.stderr.startswith(f"mme: mme init: {setting}: ")
    assert list(directory.iterdir()) == []


def test_the_schema_is_printed_and_nothing_is_written(directory):
    result = init("--schema")
    assert json.loads(result.stdout) == json.loads(schema())
    assert list(directory.iterdir()) == []


def test_on_a_terminal_it_asks(directory):
    """Wrong answers are asked again; a number stands for a role of the list."""
    make_role("first")
    second = make_role("second")
    answers = "ho_uses\nhouses\n\nsecond\n2\nml.c5.xlarge\n"
    program = Path(sys.executable).with_name("mme")
    controller, terminal = pty.openpty()
    try:
        os.write(controller, answers.encode())
        done = subprocess.run(
            [program, "init"],
            stdin=terminal,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(controller)
        os.close(terminal)
    assert done.returncode == 0, done.stderr
    assert "Name of the endpoint [house-prices]" in done.stderr
    assert f"  2  {second}" in done.stderr
    assert done.stderr.count("that will not do") == 2
    assert load() == Deployment(
        name="houses",
        region=REGION,
        models=f"{PREFIX}/houses/models/",
        role=second,
        instance_type="ml.c5.xlarge",
    )


def test_a_role_that_mme_iam_trust_makes_is_found():
    from mme_hosting.aws import Aws
    from mme_hosting.context import Context

    document = json.dumps(trust(Context(Deployment(name="houses"), Aws())))
    boto3.client("iam").create_role(RoleName="ours", AssumeRolePolicyDocument=document)
    assert init("--name", "houses").exit_code == 0
    assert load().role == f"arn:aws:iam::{ACCOUNT}:role/ours"
