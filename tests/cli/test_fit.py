"""`mme fit`: what it prints, and what it says of mistakes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import psutil
import pytest
from typer.testing import CliRunner, Result

from mme_cli.main import app
from mme_hosting.fit import measure
from mme_training.archives.pack import write_archive
from support.archives import booster, fill
from support.aws import aws
from support.serving import until


def mme(*arguments: object) -> Result:
    environment = {"NO_COLOR": "1", "TERM": "dumb"}
    return CliRunner().invoke(app, ["fit", *map(str, arguments)], env=environment)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three archives."""
    place = tmp_path_factory.mktemp("models")
    for number in range(3):
        files = fill(place / "files" / str(number), {"model.ubj": booster(number % 2)}, check=0)
        every = {path.name: path for path in files.iterdir()}
        write_archive(every, place / f"city{number}.tar.gz")
    return place


@pytest.fixture(scope="module")
def bucket(models: Path) -> Iterator[str]:
    with aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="fit")
        for archive in models.glob("*.tar.gz"):
            s3.upload_file(str(archive), "fit", f"many/{archive.name}")
        yield "s3://fit/many/"


@pytest.fixture
def quick(monkeypatch) -> None:
    """Measure less than is good, and as much as a test needs."""
    monkeypatch.setattr(measure, "_LOADS", {"plain": 4, "code": 2})
    monkeypatch.setattr(measure, "_SECONDS", 0.2)


@pytest.mark.slow
def test_what_people_read(models: Path, quick: None, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("city0\ncity1\ncity0\n")
    done = mme(
        *("--models", models, "--traffic", log, "--rate", 20, "--min", 2),
        *("--instance", "ml.m5.large,ml.r5.large"),
    )
    assert done.exit_code == 0, done.output
    assert "loading 3 of the 3 archives at" in done.stderr
    assert "code that they bring is run" in done.stderr
    assert "log: 3 requests, 2 models, 20 requests/s, hit ratio 90%" in done.stdout
    assert "cheapest: 2 ml.m5.large, 168 USD a month" in done.stdout
    assert "a plain model: " in done.stdout
    assert "ms of CPU" in done.stdout
    assert "No price is known of ml.r5.large" in done.stdout
    table = done.stdout.partition("\ncheapest")[0].splitlines()[1:]
    assert max(map(len, table)) <= 120


@pytest.mark.slow
def test_what_programs_read(bucket: str, quick: None) -> None:
    done = mme("--models", bucket, "--rate", 50, "--sample", 2, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["models"] == {"where": bucket, "count": 3}
    assert found["measured"]["archives"] == 2
    assert found["wanted"]["rate"] == 50
    first = found["instances"][0]
    assert first["name"] == "ml.t2.medium"
    assert first["instances"] == 1
    assert first["hit_ratio"]["1"] == 1
    assert 0 < first["models"]["likely"] < first["models"]["best"]
    assert first["usd_per_month"] == pytest.approx(0.056 * 730)
    assert found["cheapest"] == "ml.t2.medium"
    assert any("download from S3" in each for each in found["unsure"])


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_that_is_interrupted_leaves_nothing(models: Path, tmp_path: Path, number: int) -> None:
    running = subprocess.Popen(
        [Path(sys.executable).with_name("mme"), "fit", "--models", models],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.DEVNULL,
    )
    top = psutil.Process(running.pid)
    try:
        until(lambda: len(top.children(recursive=True)) > 3, within=60, what="a server")
        started = top.children(recursive=True)
        running.send_signal(number)
        assert running.wait(60) == 128 + number
        assert psutil.wait_procs(started, timeout=20)[1] == []
        assert not list(tmp_path.glob("mme-fit-*"))
    finally:
        for process in [*top.children(recursive=True), top] if top.is_running() else []:
            process.kill()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--instance", "ml.m5.lage"), "the size of ml.m5.lage is not known: did you mean"),
        (("--instance", ","), "--instance names no instance type"),
        (("--models", "no/such"), "no/such is no directory of archives"),
        (("--models", "s3:/typo"), "s3:/typo is no directory of archives"),
        (("--traffic", "absent", "--zipf", "1"), "give --traffic or --zipf, not both"),
        (("--traffic", "absent"), "absent cannot be read"),
        (("--rows", "absent"), "absent cannot be read"),
        (("--prices", "absent"), "absent cannot be read as CSV"),
    ],
)
def test_mistakes_are_told_in_a_line(models: Path, arguments, reason: str) -> None:
    given = () if "--models" in arguments else ("--models", models)
    done = mme(*given, *arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert reason in done.stderr
    assert done.stderr.splitlines()[-1].startswith("mme: ")


def test_without_models_they_are_those_of_the_endpoint(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = mme()
    assert (done.exit_code, done.stdout) == (2, "")
    assert "name is not given (mme init writes a file with it)" in done.stderr


def test_a_directory_without_archives_is_told(tmp_path: Path) -> None:
    done = mme("--models", tmp_path)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"there are no archives (.tar.gz) at {tmp_path}" in done.stderr
