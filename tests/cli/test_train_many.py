from __future__ import annotations

import json
import signal
import subprocess
import sys
from math import nan
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from mme_cli.train_many import _medians, many
from mme_training.archives.pack import unpack
from mme_training.many.work import Record
from support.many import CITIES, HYPERPARAMETERS, houses, write
from support.serving import until

app = typer.Typer()
app.command()(many)


def arguments(directory: Path, **changes: Any) -> list[str]:
    given = {
        "segments": directory / "houses.parquet",
        "by": "city",
        "label": "PRICE",
        "out": directory / "out",
        "hyperparameters": directory / "hyperparameters.json",
        "workers": 1,
        **changes,
    }
    values = {name: value for name, value in given.items() if value is not None}
    return [text for name, value in values.items() for text in (f"--{name}", str(value))]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write(houses(), tmp_path)
    (tmp_path / "hyperparameters.json").write_text(json.dumps(HYPERPARAMETERS))
    return tmp_path


def mme(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments)


def test_models_are_trained_and_summed_up(directory: Path):
    code = directory / "my.py"
    code.write_text("pass")
    more = ("--set", "max_depth=2", "--set", "eta=0.1", "--extra", f"code/inference.py={code}")

    first, again = (
        mme(*arguments(directory, features="SQUARE_FEET, LOT_ACRES"), *more) for _ in range(2)
    )

    assert (first.exit_code, again.exit_code) == (0, 0), first.output
    assert "3, 0 of them from before" in first.output
    assert "3, 3 of them from before" in again.output
    assert "median test-rmse" in first.output
    assert len(pd.read_parquet(directory / "out/manifest.parquet")) == len(CITIES)
    unpack(directory / "out/archives/Dallas.tar.gz", directory / "model")
    assert (directory / "model/code/inference.py").read_text() == "pass"


def test_failures_are_listed_with_their_reasons(directory: Path):
    write(pd.concat([houses(), houses(["Austin"], 2)]), directory)

    result = mme(*arguments(directory))

    assert result.exit_code == 1
    assert "mme: Austin: 2 rows cannot be split" in result.output


@pytest.mark.parametrize(
    ("changes", "more", "message"),
    [
        ({"by": "town"}, (), "no column 'town' for the key"),
        ({"segments": "/missing"}, (), "mme: /missing: there is no such file"),
        ({}, ("--set", "max_dept=2"), "max_depth"),
        ({}, ("--set", "eta"), "--set eta: give NAME=VALUE"),
        ({"workers": 0}, (), "1 worker or more"),
        ({"hyperparameters": "/missing"}, (), "/missing cannot be read as JSON"),
        ({}, ("--ray-address", "auto"), "--ray-address is for --engine ray"),
        ({}, ("--sagemaker", "x.json"), "--sagemaker is for --engine sagemaker"),
        ({"engine": "sagemaker"}, (), "role"),
    ],
)
def test_a_mistake_is_told_in_short(
    directory: Path, changes: dict[str, Any], more: tuple[str, ...], message: str
):
    result = mme(*arguments(directory, **changes), *more)

    assert result.exit_code == 2
    assert result.output.startswith("mme: ")
    assert message in result.output


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_it_whole_and_it_goes_on(directory: Path, sent: int, status: int):
    cities = [f"City{number:02}" for number in range(40)]
    write(houses(cities, 400), directory)
    program = (  # What starts the tests may ignore SIGINT, as shells do for what is in background.
        "import signal, typer; from mme_cli.train_many import many;"
        "signal.signal(signal.SIGINT, signal.default_int_handler); typer.run(many)"
    )
    command = [sys.executable, "-c", program, *arguments(directory)]
    journal = directory / "out/journal.jsonl"

    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    until(lambda: journal.exists() and journal.read_bytes().count(b"\n") >= 3, 60, "3 records")
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == status
    assert errors == "mme: stopped; the same command goes on from here\n"
    done = len(pd.read_parquet(directory / "out/manifest.parquet"))
    assert 3 <= done < len(cities)
    assert not (directory / "out/.scratch").exists()
    assert f"40, {done} of them from before" in mme(*arguments(directory)).output


def test_medians_leave_out_what_is_no_number_and_keep_zero():
    records = [Record("a", "f", metrics={"test-auc": v, "test-error": 0.0}) for v in (nan, 0.5, 1)]

    assert dict(_medians(records)) == {"median test-auc": "0.75", "median test-error": "0"}


def test_a_median_of_zero_is_shown(directory: Path):
    write(houses().assign(PRICE=1), directory)

    result = mme(
        *arguments(directory),
        "--set",
        "objective=binary:logistic",
        "--set",
        "eta=1",
        "--set",
        "eval_metric=error",
    )

    assert "median test-error" in result.output
