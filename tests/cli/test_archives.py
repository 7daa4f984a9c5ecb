"""`mme pack`, `mme inspect` and `mme verify`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import typer
from typer.testing import CliRunner, Result

from mme_cli import archives
from support.archives import booster, fill, link, names, tar
from support.aws import aws
from support.models import csv_of, make_rows

app = typer.Typer()
for function in (archives.pack, archives.inspect, archives.verify):
    app.command()(function)


def mme(*arguments: object) -> Result:
    environment = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"}
    return CliRunner().invoke(app, [str(each) for each in arguments], env=environment)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with aws():
        boto3.client("s3").create_bucket(Bucket="archives-of-the-test")
        yield "archives-of-the-test"


@pytest.fixture
def model(tmp_path) -> Path:
    return fill(tmp_path / "Chicago_IL", {"model.ubj": booster(), ".DS_Store": ""})


def test_pack_writes_each_model_and_says_what_it_left_out(tmp_path, model: Path) -> None:
    fill(tmp_path, {"Dallas.json": booster(1)})
    result = mme("pack", model, tmp_path / "Dallas.json", "--out", tmp_path / "new" / "out")

    assert result.exit_code == 0
    assert names(tmp_path / "new" / "out" / "Chicago_IL.tar.gz") == ["model.ubj"]
    assert names(tmp_path / "new" / "out" / "Dallas.tar.gz") == ["model.json"]
    assert f"{model}: left out: .DS_Store" in result.stderr
    assert len(result.stdout.splitlines()) == 2
    assert "sha256 " in result.stdout


def test_pack_to_a_file_with_all_that_goes_in(tmp_path, model: Path) -> None:
    code = fill(tmp_path / "code", {"inference.py": "def model_fn(model_dir): ..."})
    (tmp_path / "s.toml").write_text("threads = 2")
    result = mme(
        "pack", model, "--out", tmp_path / "a.tar.gz", "--code", code,
        "--settings", tmp_path / "s.toml",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert names(tmp_path / "a.tar.gz") == ["code/inference.py", "mme.toml", "model.ubj"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["missing"], "there is no missing"),
        (["Chicago_IL", "Dallas.ubj", "--name", "x"], "one model at a time"),
        (["Chicago_IL", "Dallas.ubj", "--out", "x.tar.gz"], "one model at a time"),
        (["Chicago_IL", "sub/Chicago_IL.ubj"], "would both be Chicago_IL.tar.gz"),
        (["Chicago_IL", "--out", "Chicago_IL"], "would be in the directory to pack"),
        (["old.tar.gz"], "would be replaced by itself: give another place with --out"),
        (["Chicago_IL", "--name", "a/b"], "cannot be the name of a model"),
        (["Chicago_IL", "--version-style", "v"], "--version-style is for --upload"),
        (["bad.tar.gz", "--out", "out"], "'link' is neither a file nor a directory"),
        (["notes.txt", "--out", "out"], "notes.txt is not packed: "),
        (["Chicago_IL", "--upload", "bucket/x"], "no place in S3"),
        (["Chicago_IL", "--settings", "nowhere.toml"], "nowhere.toml: No such file"),
        (["Chicago_IL", "--code", "nowhere"], "nowhere is no directory"),
    ],
)
def test_pack_refuses_in_one_line(tmp_path, model, monkeypatch, arguments, reason: str) -> None:
    fill(tmp_path, {"Dallas.ubj": booster(), "sub/Chicago_IL.ubj": booster(), "notes.txt": "x"})
    good = {"model.ubj": bytes(booster().save_raw("ubj"))}
    tar(tmp_path / "old.tar.gz", good)
    tar(tmp_path / "bad.tar.gz", {**good, "link": link("link", "/etc/passwd")})
    monkeypatch.chdir(tmp_path)

    result = mme("pack", *arguments)

    assert result.exit_code == 2
    assert reason in result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("mme: ")]
    assert line == result.stderr.splitlines()[-1]


def test_pack_uploads_versions_and_inspect_reads_them(tmp_path, model: Path, bucket: str) -> None:
    prefix = f"s3://{bucket}/models/"
    runs = [mme("pack", model, "--upload", prefix, "--version-style", "v") for _ in range(2)]
    plain = mme("pack", model, "--upload", prefix, "--out", tmp_path)
    seen = mme("inspect", f"{prefix}Chicago_IL_v1.tar.gz", "--json")
    fill(model, {"mme.toml": "threads = 2"})
    other = mme("pack", model, "--upload", prefix)

    assert [run.stdout for run in runs] == [
        f"{prefix}Chicago_IL_v1.tar.gz: uploaded\n",
        f"{prefix}Chicago_IL_v1.tar.gz: present\n",
    ]
    assert f"{prefix}Chicago_IL.tar.gz: uploaded" in plain.stdout
    assert (tmp_path / "Chicago_IL.tar.gz").exists()
    assert json.loads(seen.stdout)["source"] == f"{prefix}Chicago_IL_v1.tar.gz"
    assert other.exit_code == 1
    assert "Chicago_IL.tar.gz exists with other content" in other.stderr


def test_inspect_of_an_object_that_is_not_there(bucket: str) -> None:
    result = mme("inspect", f"s3://{bucket}/missing.tar.gz")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"mme: s3://{bucket}/missing.tar.gz: there is no such object")


def test_inspect_shows_a_table(tmp_path) -> None:
    files = {"model.ubj": booster(), "mme.toml": "threads = 2", "code/inference.py": "model_fn = 1"}
    result = mme("inspect", fill(tmp_path / "m[red]", files, check=0))

    assert result.exit_code == 0
    for text in (
        "m[red]",
        "a process of its own: it brings code of its own, code/inference.py",
        "ubj of XGBoost 3",
        "reg:squarederror, 25 rounds, 25 trees",
        "threads = 2",
        "code/inference.py: model_fn",
        "10 with predictions",
        "a server loads it",
    ):
        assert text in result.stdout


def test_inspect_of_what_no_server_loads(tmp_path) -> None:
    archive = tar(tmp_path / "a.tar.gz", {"model/model.ubj": bytes(booster().save_raw("ubj"))})
    (tmp_path / "b.tar.gz").write_text("x")

    shown, written = mme("inspect", archive), mme("inspect", archive, "--json")
    broken = mme("inspect", tmp_path / "b.tar.gz")

    assert (shown.exit_code, written.exit_code, broken.exit_code) == (1, 1, 2)
    assert "refused: there is no model file at the root" in shown.stdout
    assert "no server loads it" in shown.stdout
    assert json.loads(written.stdout)["loads"] is False
    assert "b.tar.gz cannot be extracted" in broken.stderr


def test_names_that_are_not_utf8_are_shown(tmp_path) -> None:
    archive = tar(tmp_path / "a.tar.gz", {"model.ubj": bytes(booster().save_raw("ubj")),
                                          "notes\udcff.txt": b""})  # fmt: skip
    assert mme("inspect", archive).exit_code == 0
    found = json.loads(mme("inspect", archive, "--json").stdout)
    assert "notes\\udcff.txt" in found["files"]


def test_what_is_packed_is_verified(tmp_path, model: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(csv_of(make_rows(450)))  # more than one request's
    packed = mme("pack", model, "--check", tmp_path / "rows.csv", "--out", tmp_path / "out")
    assert packed.exit_code == 0, packed.output
    bad = tar(tmp_path / "bad.tar.gz", {"model.ubj": b"x"})
    good = tmp_path / "out" / "Chicago_IL.tar.gz"

    result = mme("verify", good, bad, "--data", tmp_path / "rows.csv")

    assert result.exit_code == 1
    first, second, last = result.stdout.splitlines()
    assert first == f"{good}: ok: 450 rows equal to Booster.predict here, bit for bit"
    assert second.startswith(f"{bad}: failed: The model file 'model.ubj' is not an XGBoost model")
    assert last == "1 of 2 ok"


def test_verify_takes_files_and_says_so() -> None:
    result = mme("verify", "s3://bucket/model.tar.gz")

    assert result.exit_code == 2
    assert "fetch it first" in result.output
