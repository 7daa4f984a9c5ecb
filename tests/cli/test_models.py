"""`mme models`, as its users type it: what it prints, and its exit status."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from typer.testing import CliRunner, Result

from mme_cli.main import app
from support.aws import aws, reset
from support.hosted_models import BUCKET, PREFIX, alias_file, archive, key_of, keys, make


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with aws() as endpoint:
        yield endpoint


@pytest.fixture(autouse=True)
def prefix(server: str, tmp_path: Path, monkeypatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    Path("mme.yaml").write_text(f"name: houses\nmodels: {PREFIX}\n")
    make()
    yield
    reset(server)


def mme(*arguments: str | Path) -> Result:
    return CliRunner().invoke(
        app, ("models", *map(str, arguments)), env={"NO_COLOR": "1", "TERM": "dumb"}
    )


def test_add_update_and_back(tmp_path: Path) -> None:
    one, two = archive(tmp_path / "houston.tar.gz"), archive(tmp_path / "2.tar.gz", "two")
    first, second = key_of(one, "houston", 1), key_of(two, "houston", 2)
    for arguments, said in (
        (("add", one), f"houston: added, {first}\n"),
        (("add", one), f"houston: present, {first}\n"),
        (("update", "--name", "houston", two), f"houston: updated, {second}\n"),
        (("update", "--name", "houston", two), f"houston: present, {second}\n"),
        (("rollback", "houston"), f"houston: {second} -> {first}\n"),
        (("rollback", "houston", "--to", "2"), f"houston: {first} -> {second}\n"),
        (("rollback", "houston", "--to", second), f"houston: {second} is current already\n"),
        (("rm", "houston", "--yes"), "houston: removed\n"),
        (("rm", "houston"), "houston: is not there\n"),
    ):
        found = mme(*arguments)
        assert (found.exit_code, found.stdout) == (0, said), found.stderr


def test_a_tenants_folder_is_put_before_the_names(tmp_path: Path) -> None:
    paths = [archive(tmp_path / f"{name}.tar.gz", name) for name in ("austin", "houston")]
    assert mme("add", "--under", "company_a", *paths).exit_code == 0
    assert mme("add", "--name", "company_b/x", paths[0]).exit_code == 0
    assert set(alias_file()[1]["models"]) == {
        "company_a/austin",
        "company_a/houston",
        "company_b/x",
    }


def test_one_that_is_refused_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    good, bad = archive(tmp_path / "good.tar.gz"), tmp_path / "bad.tar.gz"
    bad.write_bytes(b"no archive")
    found = mme("add", bad, good)
    assert (found.exit_code, found.stdout) == (1, f"good: added, {key_of(good, 'good', 1)}\n")
    assert "mme: bad.tar.gz cannot be extracted" in found.stderr
    assert "mme: 1 of 2 failed" in found.stderr
    assert mme("add", bad).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "--name", "n", "a.tar.gz", "b"), "--name is for one archive"),
        (("add", "a.tar.gz", "s3://houses-bucket/a.tar.gz"), "would both be the model a"),
        (("add", "s3://houses-bucket/none.tar.gz"), "there is no such object"),
        (("add", "--under", "../b", "a.tar.gz"), "cannot be the name of a model"),
        (("add", "--name", "a.tar.gz", "a.tar.gz"), "would be taken for a key"),
        (("add", "none.tar.gz"), "there is no none.tar.gz"),
        (("add", "--name", "", "a.tar.gz"), "'' cannot be the name of a model"),
        (("add", "pipe"), "pipe is no file"),
        (("rm", "--yes", "\udcff"), "names something that is not UTF-8"),
        (("update", "a.tar.gz"), "no model a at"),
        (("rollback", "a"), "no model a at"),
        (("rm", "a.tar.gz"), "is a key and no name"),
        (("ls", "-c", "none.yaml"), "there is no none.yaml"),
    ],
)
def test_what_is_refused_does_nothing(tmp_path: Path, arguments, said: str) -> None:
    archive(tmp_path / "a.tar.gz")
    archive(tmp_path / "b" / "b.tar.gz")
    os.mkfifo("pipe")
    found = mme(*arguments)
    assert found.exit_code == 2
    assert said in found.stderr
    assert found.stderr.count("\n") == 1
    assert keys() == []


def test_ls_for_a_person_and_for_a_program(tmp_path: Path) -> None:
    assert mme("ls").stderr == f"no models at {PREFIX}\n"
    one, two = archive(tmp_path / "a.tar.gz"), archive(tmp_path / "2" / "a.tar.gz", "two")
    mme("add", one)
    mme("update", two)
    first, second = key_of(one, "a", 1), key_of(two, "a", 2)

    head, line = mme("ls").stdout.splitlines()
    assert head.split() == ["name", "version", "key", "size", "changed", "versions"]
    cells = line.split()
    assert (cells[:3], cells[-1]) == (["a", "2", second], "2")
    lines = mme("ls", "--versions", "a*").stdout.splitlines()[1:]
    assert [line.split()[:3] for line in lines] == [["a", "2", second], ["a", "1", first]]
    assert [line.split()[-1] == "yes" for line in lines] == [True, False]

    content = json.loads(mme("ls", "--json").stdout)
    assert content["prefix"] == PREFIX
    (model,) = content["models"]
    assert (model["name"], model["version"], model["key"]) == ("a", 2, second)
    assert model["size"] == two.stat().st_size
    assert [each["current"] for each in model["versions"]] == [True, False]
    assert mme("ls", "nothing*").stdout == ""


def test_keys_of_others_cannot_steer_a_terminal() -> None:
    key = "models/\x1b[2J.tar.gz"
    boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"1")
    assert "\\x1b[2J.tar.gz" in mme("ls").stdout


def test_a_command_that_is_advised_is_one_for_a_shell(tmp_path: Path) -> None:
    one, two = archive(tmp_path / "a b.tar.gz"), archive(tmp_path / "x" / "a b.tar.gz", "two")
    mme("add", one)
    assert f"mme models update --name 'a b' '{two}'" in mme("add", two).stderr


def test_an_archive_that_is_gone_is_told(tmp_path: Path) -> None:
    mme("add", archive(tmp_path / "a.tar.gz"))
    context = make()
    (key,) = keys()
    context.aws.client("s3").delete_object(Bucket="houses-bucket", Key=f"models/{key}")
    found = mme("ls")
    assert (found.exit_code, "gone" in found.stdout) == (0, True)
    assert f"mme: a: its archive {PREFIX}{key} is gone" in found.stderr


def test_rm_asks_and_without_a_terminal_refuses(tmp_path: Path, monkeypatch) -> None:
    mme("add", archive(tmp_path / "a.tar.gz"))
    found = mme("rm", "a")
    assert found.exit_code == 2
    assert "a: 1 version\n" in found.stderr
    assert "give --yes" in found.stderr
    assert len(keys()) == 1
    found = mme("rm", "a", "b", "--yes", "--json")
    assert json.loads(found.stdout) == [
        {"name": "b", "status": "absent"},
        {"name": "a", "status": "removed"},
    ]
    assert "answers for it until it drops it" in found.stderr


@pytest.mark.parametrize(("answer", "status", "left"), [("n\n", 2, 1), ("y\n", 0, 0)])
def test_rm_does_as_it_is_told(tmp_path: Path, monkeypatch, answer, status, left) -> None:
    mme("add", archive(tmp_path / "a.tar.gz"))
    monkeypatch.setattr("mme_cli.models._is_terminal", lambda: True)
    found = CliRunner().invoke(app, ("models", "rm", "a"), input=answer)
    assert (found.exit_code, len(keys())) == (status, left)


def test_json_of_what_was_done(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar.gz")
    (added,) = json.loads(mme("add", "--json", path).stdout)
    assert added == {
        "name": "a",
        "path": str(path),
        "status": "added",
        "key": key_of(path, "a", 1),
        "size": path.stat().st_size,
        "error": None,
    }
    two = archive(tmp_path / "2.tar.gz", "two")
    mme("update", "--name", "a", two)
    assert json.loads(mme("rollback", "a", "--json").stdout) == {
        "name": "a",
        "from": key_of(two, "a", 2),
        "to": key_of(path, "a", 1),
    }
