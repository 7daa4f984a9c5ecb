from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from typer.testing import CliRunner, Result

from mme_cli.main import app
from mme_hosting.images import engine as docker_engine
from mme_hosting.images.ecr import ADDRESS_VARIABLE
from mme_hosting.images.registry import DOCKER_MANIFEST
from support.aws import REGION, aws
from support.images import FakeEngine, attributes, digest
from support.registries import fake_registry
from support.trees import make_tree


def mme(*arguments: str) -> Result:
    return CliRunner().invoke(app, ("push", *arguments), env={"NO_COLOR": "1", "TERM": "dumb"})


class Engine(FakeEngine):
    """Puts what is pushed into the registry of these tests."""

    def __init__(self, held: dict[str, bytes]) -> None:
        super().__init__(
            **{
                "xgboost-mme_cpu": attributes("c"),
                "xgboost-mme_gpu": attributes("d", "NVIDIA_VISIBLE_DEVICES=all"),
            }
        )
        self.held = held
        self.refused = ""

    def push(self, repository: str, tag: str, auth_config: object, **_: object):
        if tag == self.refused:
            return [{"error": "connection refused"}]
        config = {"digest": digest("d" if tag.endswith("gpu") else "c")}
        self.held[tag] = json.dumps({"config": config}).encode()
        return []


@pytest.fixture
def held() -> dict[str, bytes]:
    return {}


@pytest.fixture
def host(held: dict[str, bytes]) -> Iterator[str]:
    def answer(request):
        found = held.get(request.path.rpartition("/")[2])
        return (200, {"Content-Type": DOCKER_MANIFEST}, found) if found else (404, {}, b"")

    with fake_registry(answer) as address:
        yield address


@pytest.fixture
def engine(held, tmp_path: Path, monkeypatch) -> Engine:
    engine = Engine(held)
    monkeypatch.setattr(docker_engine, "connect", lambda: engine)
    monkeypatch.chdir(tmp_path)
    return engine


def test_it_says_what_it_will_do_and_what_has_become_of_it(host, engine):
    del engine.known["xgboost-mme_gpu"]
    result = mme("--registry", host)
    plan, missing, done, fixed = result.stdout.splitlines()
    where = f"{host}/xgboost-mme"
    assert plan == f"xgboost-mme:cpu (linux/amd64, 852 MB): push to {where}:1.2.3-cpu"
    assert missing == "xgboost-mme:gpu: not built, and not pushed"
    assert done == f"{where}:1.2.3-cpu: pushed"
    assert fixed.startswith(f"  {where}@sha256:")
    assert (result.exit_code, result.stderr) == (0, "")


def test_again_nothing_is_pushed(host, engine):
    first, again = mme("--registry", host), mme("--registry", host)
    assert again.exit_code == 0
    assert f"xgboost-mme:1.2.3-gpu: pushed\n  {host}/xgboost-mme@sha256:" in first.stdout
    assert f"xgboost-mme:1.2.3-gpu: present\n  {host}/xgboost-mme@sha256:" in again.stdout
    assert len(engine.tagged) == 2
    assert first.stdout.splitlines()[-1] == again.stdout.splitlines()[-1]


def test_a_dry_run_stops_before_anything_is_done(host, engine):
    result = mme("--registry", host, "--dry-run", "--tag", "test")
    assert (result.exit_code, engine.tagged, engine.held) == (0, [], {})
    assert result.stdout.count("push to") == 2
    assert "test-gpu" in result.stdout


def test_a_tag_that_is_moved_is_said(host, engine):
    engine.held["1.2.3-cpu"] = b'{"config": {"digest": "sha256:other"}}'
    result = mme("--registry", host, "--dry-run")
    assert "1.2.3-cpu, in place of sha256:" in result.stdout


def test_json_is_all_that_is_on_stdout(host, engine):
    result = mme("--registry", host, "--json", "--repository", "team/name")
    content = json.loads(result.stdout)
    assert content["repository"] == f"{host}/team/name"
    assert (content["create"], content["dry_run"], content["missing"]) == (False, False, [])
    assert [each["status"] for each in content["images"]] == ["pushed", "pushed"]
    assert [each["variant"] for each in content["images"]] == ["cpu", "gpu"]
    for each in content["images"]:
        assert each["fixed_uri"] == f"{host}/team/name@{each['digest']}"
    assert result.stderr.count("push to") == 2


def test_one_that_fails_ends_with_1_and_the_other_is_told(host, engine):
    engine.refused = "1.2.3-gpu"
    result = mme("--registry", host, "--json")
    assert result.exit_code == 1
    assert [each["status"] for each in json.loads(result.stdout)["images"]] == ["pushed", None]
    assert result.stderr.splitlines()[-1].startswith(
        f"mme: pushing {host}/xgboost-mme:1.2.3-gpu failed: connection refused."
    )
    engine.refused = ""
    assert mme("--registry", host).exit_code == 0


def test_changes_in_the_tree_are_refused_unless_told(host, engine, tmp_path):
    make_tree(tmp_path)
    (tmp_path / "new").touch()
    refused, told = mme("--registry", host), mme("--registry", host, "--allow-dirty")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"mme: {tmp_path} has changes that no commit holds: new. ")
    assert told.exit_code == 0
    assert told.stderr.startswith(f"note: {tmp_path} has changes that no commit holds: new\n")


def test_in_ecr_it_goes_to_the_region_of_the_endpoint(host, engine, tmp_path, monkeypatch):
    monkeypatch.setenv(ADDRESS_VARIABLE, host)
    (tmp_path / "mme.yaml").write_text("region: eu-west-1\n")
    with aws():
        assert mme().exit_code == 0
        assert mme("--region", "eu-west-2").exit_code == 0
        for region, expected in ((REGION, 0), ("eu-west-1", 1), ("eu-west-2", 1)):
            ecr = boto3.client("ecr", region_name=region)
            assert len(ecr.describe_repositories()["repositories"]) == expected


def test_a_file_that_describes_nothing_is_refused(host, engine, tmp_path):
    (tmp_path / "mme.yaml").write_text("regoin: eu-west-1\n")
    result = mme("--dry-run")
    assert (result.exit_code, result.stderr.count("regoin")) == (2, 1)
    assert mme("--registry", host, "--dry-run").exit_code == 0


def test_without_an_engine(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    result = mme("--registry", "127.0.0.1:1")
    assert result.exit_code == 2
    assert result.stderr.startswith("mme: no Docker engine answers (")
    assert result.stderr.endswith("): start one, or set DOCKER_HOST\n")


def test_a_region_is_for_ecr():
    result = mme("--registry", "127.0.0.1:1", "--region", "eu-west-1")
    assert (result.exit_code, result.stderr[:23]) == (2, "mme: --region is for EC")
