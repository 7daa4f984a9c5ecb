from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from mme_training.houses import COLUMNS, make_houses
from mme_training.many import Job, Outcome, train_many, train_one
from mme_training.pack import unpack
from mme_training.split import split
from mme_training.train import rmse, train


class Kills:
    """Ends, at once, whichever process unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (9,)


def test_one_city_gets_its_files(tmp_path) -> None:
    code = tmp_path / "inference.py"
    code.write_text("pass")
    job = Job("Dallas_TX", tmp_path / "new", 100, 7, {"code/inference.py": code})
    outcome = train_one(job)

    directory = tmp_path / "new" / "Dallas_TX"
    assert outcome.error is None
    assert outcome.path == directory / "Dallas_TX.tar.gz"
    assert outcome.seconds > 0
    assert {path.name for path in directory.iterdir()} == {
        "train.csv",
        "validation.csv",
        "test.csv",
        "Dallas_TX.tar.gz",
    }
    parts = split(make_houses("Dallas_TX", 100, 7), 7)
    for name, part in parts._asdict().items():
        read = pd.read_csv(directory / f"{name}.csv", header=None, names=list(COLUMNS))
        pd.testing.assert_frame_equal(read, part.reset_index(drop=True))

    unpack(outcome.path, tmp_path / "model")
    assert (tmp_path / "model/code/inference.py").read_text() == "pass"
    booster = xgb.Booster({"nthread": 1}, model_file=tmp_path / "model/model.ubj")
    expected = train(parts.train, parts.validation).booster
    features = parts.test[list(COLUMNS[1:])]
    np.testing.assert_array_equal(
        booster.inplace_predict(features), expected.inplace_predict(features)
    )
    assert outcome.rmse == rmse(expected, parts.test)


@pytest.mark.parametrize("city", ["", ".", "..", "../up", "a/b", "/absolute"])
def test_a_city_that_is_no_file_name_is_refused(tmp_path, city: str) -> None:
    outcome = train_one(Job(city, tmp_path / "out"))
    assert outcome.error is not None
    assert outcome.error.startswith("ValueError")
    assert list(tmp_path.iterdir()) == []


def test_failing_and_dying_jobs_do_not_lose_the_others(tmp_path) -> None:
    jobs = [
        Job("Dying_TX", tmp_path, 50, extra={"x": Kills()}),  # type: ignore[dict-item]
        Job("Empty_TX", tmp_path, 2),
        Job("Houston_TX", tmp_path, 50),
        Job("NoCode_TX", tmp_path, 50, extra={"code/inference.py": Path("/missing")}),
        Job("Phoenix_AZ", tmp_path, 50),
    ]
    seen: list[Outcome] = []
    outcomes = train_many(jobs, workers=1, on_done=seen.append)

    assert [outcome.city for outcome in outcomes] == [job.city for job in jobs]
    assert sorted(seen, key=lambda outcome: outcome.city) == outcomes
    errors = [(outcome.error or "").partition(":")[0] for outcome in outcomes]
    assert errors == ["BrokenProcessPool", "ValueError", "", "FileNotFoundError", ""]
    for outcome in outcomes:
        assert (outcome.path is None) == (outcome.rmse is None) == (outcome.error is not None)
        assert outcome.path is None or outcome.path.is_file()


def test_processes_train_what_this_process_would(tmp_path) -> None:
    cities = ("Chicago_IL", "Dallas_TX")
    there = train_many([Job(city, tmp_path / "there", 50) for city in cities], workers=2)
    here = [train_one(Job(city, tmp_path / "here", 50)) for city in cities]
    for one, other in zip(there, here, strict=True):
        assert one.path is not None
        assert other.path is not None
        assert one.path.read_bytes() == other.path.read_bytes()


def test_no_jobs_have_no_outcomes() -> None:
    assert train_many([]) == []


def test_impossible_arguments_are_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match="workers"):
        train_many([], workers=0)
    with pytest.raises(ValueError, match="same city"):
        train_many([Job("Dallas_TX", tmp_path), Job("Dallas_TX", tmp_path, seed=1)])


def test_an_error_of_the_callback_drops_the_jobs_not_begun(tmp_path) -> None:
    def stop(outcome: Outcome) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        train_many([Job(f"City{n}", tmp_path, 50) for n in range(200)], 1, stop)
    assert len(list(tmp_path.iterdir())) < 200
