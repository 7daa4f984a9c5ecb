"""`mme conformance`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

sys.path.insert(0, str(Path(__file__).parents[1]))

from mme_cli.main import app
from support.serving import Server


def mme(*arguments: object, **environment: str) -> Result:
    given = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200", **environment}
    return CliRunner().invoke(app, ["conformance", *map(str, arguments)], env=given)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory):
    with Server(tmp_path_factory.mktemp("server")) as server:
        yield f"http://127.0.0.1:{server.port}"


def test_the_list():
    result = mme("--list")
    assert result.exit_code == 0
    for word in ("image.label-multi-models: ", "memory.507: ", "signals.sigterm: "):
        assert word in result.output
    assert "memory.507" not in mme("--list", "--only", "start").output


def test_a_server_that_keeps_the_contract(url, tmp_path):
    report = tmp_path / "report.json"
    result = mme("--url", url, "--only", "start.ping", "--only", "management.get", "--json", report)
    assert result.exit_code == 0, result.output
    assert "pass    start.ping" in result.output
    assert f"{url}: 2 pass in " in result.output
    assert [each["id"] for each in json.loads(report.read_bytes())["checks"]] == [
        "start.ping",
        "management.get",
    ]


def test_the_exit_code_is_1_where_a_check_fails(tmp_path):
    report = tmp_path / "report.json"
    result = mme("--url", "http://127.0.0.1:9", "--only", "start.healthy", "--json", report)
    assert result.exit_code == 1
    assert "fail    start.healthy" in result.output
    assert "clause: " in result.output
    assert json.loads(report.read_bytes())["summary"]["fail"] == 1


def test_a_payload_of_ones_own(url, tmp_path):
    payload = tmp_path / "house.json"
    payload.write_text("[[1995, 3000, 3, 2.5, 1.0, 2]]")
    options = ("--payload", payload, "--content-type", "application/json")
    result = mme("--url", url, "--only", "invocation.accept", *options)
    assert result.exit_code == 0, result.output
    assert "Accept: */*, Content-Type: application/json" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give --image or --url"),
        (("--image", "a", "--url", "http://b"), "give --image or --url"),
        (("--url", "http://b", "--only", "none"), "there is no check none: --list names them all"),
        (("--url", "http://b", "--env", "A"), "--env A: it has to be NAME=VALUE"),
        (("--url", "http://b", "--memory", "much"), "--memory much: it has to be bytes"),
        (("--url", "http://b", "--models", "."), "holds no directory and no .tar.gz of a model"),
    ],
)
def test_mistakes_are_told_in_a_line(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = mme(*arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert len(result.output.splitlines()) == 1


def test_archives_are_not_for_a_url(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(b"")
    result = mme("--url", "http://127.0.0.1:9", "--models", tmp_path)
    assert result.exit_code == 2
    assert "a.tar.gz has to be unpacked where the server" in result.output


def test_without_an_engine(tmp_path):
    result = mme("--image", "a", DOCKER_HOST=f"unix://{tmp_path}/none.sock")
    assert result.exit_code == 2
    assert "a Docker engine is needed for --image" in result.output
