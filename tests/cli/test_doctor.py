from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from typer.testing import CliRunner, Result

from mme_cli.main import app
from mme_hosting.doctor.run import CHECKS
from mme_hosting.iam.policies import trust
from support.aws import ACCOUNT, REGION, ROLE, aws, reset
from support.doctor import setup
from support.local_up import MME, environment, mme, up

BUCKET = f"sagemaker-{REGION}-{ACCOUNT}"


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with aws() as endpoint:
        yield endpoint


@pytest.fixture
def described(moto, tmp_path: Path, monkeypatch) -> Path:
    """An endpoint whose bucket has a model; moto has no ECR image and no quota for it."""
    reset(moto)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    document = json.dumps(trust(setup().context))
    boto3.client("iam").create_role(RoleName="training", AssumeRolePolicyDocument=document)
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    client.put_object(Bucket=BUCKET, Key="houses/models/a.tar.gz", Body=b"x")
    (tmp_path / "mme.yaml").write_text(f"name: houses\nrole: {ROLE}\nimage: docker.io/x/models:1\n")
    return tmp_path


def doctor(*arguments: str, **more: str) -> Result:
    return CliRunner().invoke(app, ("doctor", *arguments), env={"NO_COLOR": "1", **more})


def lines(result: Result) -> dict[str, str]:
    """The last line of each subject."""
    rows = (line.split(maxsplit=2) for line in result.stdout.splitlines())
    signs = {"✓", "!", "✗", "-"}
    found = (row for row in rows if len(row) == 3 and row[0] in signs)
    names = sorted(CHECKS, key=len, reverse=True)
    return {
        next(name for name in names if row[2].startswith(name)): f"{row[1]} {row[2]}"
        for row in found
    }


@pytest.mark.slow
def test_each_thing_has_a_line_and_what_mends_it_stands_below(described):
    result = doctor()
    assert (result.exit_code, result.stderr) == (1, "")
    found = lines(result)
    assert list(found) == list(CHECKS)
    assert found["bucket"] == f"ok bucket         {BUCKET} exists, in {REGION}"
    assert found["image"].startswith("failed image")
    assert "\n    mme push\n" in result.stdout
    assert result.stdout.splitlines()[-1].endswith("skipped")
    assert " failed" in result.stdout.splitlines()[-1]


@pytest.mark.slow
def test_json_has_the_same(described):
    result = doctor("--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert list(dict.fromkeys(each["subject"] for each in found)) == list(CHECKS)
    assert {each["status"] for each in found} <= {"ok", "warning", "failed", "skipped"}
    (image,) = (each for each in found if each["subject"] == "image")
    assert image["fix"] == "mme push"


def test_wrong_settings_hide_nothing_of_the_machine(described):
    (described / "mme.yaml").write_text("nam: houses\n")
    result = doctor()
    assert result.exit_code == 1
    found = lines(result)
    assert "name is not given" in found["settings"]
    assert found["software"].startswith("ok")
    assert found["credentials"].startswith("ok")
    assert found["role"] == "skipped role           no settings"


def test_without_a_local_sagemaker(described, monkeypatch):
    monkeypatch.setenv("MME_LOCAL_RUN", str(described / "run"))
    result = doctor("--local")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no local SageMaker runs here" in result.stderr


@pytest.mark.slow
def test_the_local_sagemaker_is_healthy(tmp_path):
    """As users see it, in a directory where mme init has been."""
    import subprocess

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [MME, *arguments],
            cwd=tmp_path,
            env=environment(tmp_path / "run"),
            text=True,
            capture_output=True,
            timeout=90,
            check=False,
        )

    with up(tmp_path):
        assert run("init", "--local", "--name", "houses").returncode == 0
        done = run("doctor", "--local")
        assert mme(tmp_path / "run", "status").returncode == 0
    assert (done.returncode, done.stderr) == (0, "")
    assert "✓ ok       role           arn:aws:iam::123456789012:role/SageMakerRole" in done.stdout
    assert "mme models add MODEL.tar.gz --local" in done.stdout
    assert "failed" not in done.stdout.splitlines()[-1]
