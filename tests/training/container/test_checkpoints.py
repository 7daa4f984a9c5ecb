from __future__ import annotations

import errno
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from mme_training.container.checkpoints import SaveCheckpoint, SaveSoFar, load_last, save
from mme_training.errors import AlgorithmError, UserError


def _train(rounds: int, *callbacks: xgb.callback.TrainingCallback, columns: int = 3) -> xgb.Booster:
    random = np.random.default_rng(5)
    features = random.normal(size=(60, columns)).astype(np.float32)
    matrix = xgb.DMatrix(features, features[:, 0], nthread=1)
    return xgb.train({"nthread": 1, "max_depth": 2}, matrix, rounds, callbacks=list(callbacks))


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_the_last_five_rounds_are_kept(tmp_path) -> None:
    booster = _train(12, SaveCheckpoint(tmp_path / "new"))
    assert _names(tmp_path / "new") == sorted(f"xgboost-checkpoint.{n}" for n in range(7, 12))
    last = load_last(tmp_path / "new", 3)
    assert last is not None
    assert last.save_raw("ubj") == booster.save_raw("ubj")


def test_a_file_that_sagemaker_is_copying_stays(tmp_path) -> None:
    _train(1, SaveCheckpoint(tmp_path))
    (tmp_path / "xgboost-checkpoint.0.sagemaker-uploading").touch()
    callback = SaveCheckpoint(tmp_path)
    _train(7, callback)
    assert (tmp_path / "xgboost-checkpoint.0").exists()
    (tmp_path / "xgboost-checkpoint.0.sagemaker-uploaded").touch()
    callback.after_iteration(_train(8), 7, {})
    assert not (tmp_path / "xgboost-checkpoint.0").exists()


def test_a_damaged_checkpoint_is_passed_over(tmp_path, caplog) -> None:
    _train(6, SaveCheckpoint(tmp_path))
    newest = tmp_path / "xgboost-checkpoint.5"
    newest.write_bytes(newest.read_bytes()[:200])
    with caplog.at_level(logging.WARNING):
        booster = load_last(tmp_path, 3)
    assert booster is not None
    assert booster.num_boosted_rounds() == 5
    assert "xgboost-checkpoint.5 is passed over" in caplog.text


@pytest.mark.parametrize("directory", [None, "missing", "."])
def test_where_there_is_none_training_begins_anew(tmp_path, directory: str | None) -> None:
    assert load_last(tmp_path / directory if directory else None, 3) is None


def test_a_checkpoint_of_other_data_is_refused(tmp_path) -> None:
    _train(1, SaveCheckpoint(tmp_path), columns=6)
    with pytest.raises(UserError, match="with 6 features, this one has 3: give the job a check"):
        load_last(tmp_path, 3)


def test_of_long_rounds_the_best_model_so_far_is_kept(tmp_path) -> None:
    path = tmp_path / "model/xgboost-model"
    ticks = iter(range(0, 10_000, 40))
    _train(3, SaveSoFar(path, lambda: float(next(ticks))))
    assert xgb.Booster(model_file=path).num_boosted_rounds() == 3
    assert _names(path.parent) == ["xgboost-model"]


def test_of_short_rounds_it_is_not(tmp_path) -> None:
    path = tmp_path / "model/xgboost-model"
    _train(3, SaveSoFar(path, lambda: 0.0))
    assert not path.exists()


def test_what_is_kept_is_cut_at_the_best_round(tmp_path) -> None:
    booster = _train(5)
    booster.set_attr(best_iteration="1")
    now = iter((0.0, 31.0, 31.0))
    SaveSoFar(tmp_path / "m", lambda: next(now)).after_iteration(booster, 4, {})
    assert xgb.Booster(model_file=tmp_path / "m").num_boosted_rounds() == 2


def test_a_file_is_whole_or_not_there(tmp_path) -> None:
    save(_train(2), tmp_path / "deep/er/model")
    assert _names(tmp_path / "deep/er") == ["model"]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"objective": "count:poisson"}, "objective reg:squarederror, this one has count:poisson"),
        ({"booster": "dart"}, "booster gbtree, this one has dart"),
        ({"objective": "reg:squarederror", "num_class": 3}, "num_class 0, this one has 3"),
    ],
)
def test_a_checkpoint_of_another_kind_is_refused(tmp_path, parameters: Any, expected: str) -> None:
    _train(1, SaveCheckpoint(tmp_path))
    assert load_last(tmp_path, 3, {"max_depth": 9}) is not None
    with pytest.raises(UserError, match=expected):
        load_last(tmp_path, 3, parameters)


def test_a_directory_is_no_checkpoint(tmp_path) -> None:
    (tmp_path / "xgboost-checkpoint.99").mkdir()
    _train(7, SaveCheckpoint(tmp_path))
    booster = load_last(tmp_path, 3)
    assert booster is not None
    assert booster.num_boosted_rounds() == 7


def test_a_linear_model_is_kept_whole(tmp_path) -> None:
    features = np.random.default_rng(5).normal(size=(60, 3))
    matrix = xgb.DMatrix(features, features[:, 0], nthread=1)
    booster = xgb.train({"booster": "gblinear", "nthread": 1}, matrix, 3)
    booster.set_attr(best_iteration="1")
    now = iter((0.0, 31.0, 31.0))
    SaveSoFar(tmp_path / "m", lambda: next(now)).after_iteration(booster, 2, {})
    assert (tmp_path / "m").read_bytes() == booster.save_raw("ubj")


def test_a_disk_that_is_full_is_named_and_nothing_is_left(tmp_path, monkeypatch) -> None:
    def write(path: Path, content: bytes) -> None:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write)
    with pytest.raises(AlgorithmError, match="model/m cannot be written: No space left on device"):
        save(_train(1), tmp_path / "model/m")
    assert not _names(tmp_path / "model")


def test_what_is_left_of_a_file_is_not_taken_for_a_model(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(Path, "replace", lambda path, target: None)  # Killed just before.
    save(_train(1), tmp_path / "xgboost-model")
    (name,) = _names(tmp_path)
    assert name.startswith(".")
    assert name.endswith(".sagemaker-ignore")
