"""Pickles load where they are allowed, if what they hold is a model of XGBoost."""

from __future__ import annotations

import datetime
import json
import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import xgboost as xgb

from mme_handler.errors import ModelLoadError, OutOfMemoryError
from mme_handler.models import pickles
from mme_handler.models.booster import load_booster

ROWS = np.random.default_rng(1).normal(size=(60, 4)).astype(np.float32)


class Raises:
    """Raises `error` when it is unpickled."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __reduce__(self) -> tuple[Any, ...]:
        return raise_, (self.error,)


def raise_(error: Exception) -> None:
    raise error


@pytest.fixture(scope="module")
def fitted() -> xgb.XGBClassifier:
    return xgb.XGBClassifier(n_estimators=5, max_depth=2, n_jobs=1).fit(ROWS, ROWS[:, 0] > 0)


def refusal(path: Path) -> str:
    with pytest.raises(ModelLoadError) as caught:
        load_booster(path, allow_pickle=True)
    message = str(caught.value)
    assert repr(path.name) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("wrapper", [True, False])
@pytest.mark.parametrize(
    "save",
    [
        lambda model, path: path.write_bytes(pickle.dumps(model)),
        lambda model, path: path.write_bytes(pickle.dumps(model, 0)),
        lambda model, path: joblib.dump(model, path),
        lambda model, path: joblib.dump(model, path, compress=True),
    ],
    ids=["pickle", "protocol 0", "joblib", "compressed"],
)
def test_models_of_xgboost(tmp_path: Path, fitted: Any, save: Any, wrapper: bool) -> None:
    path = tmp_path / "xgboost-model"
    save(fitted if wrapper else fitted.get_booster(), path)
    with pytest.raises(ModelLoadError, match="MME_ALLOW_PICKLE=true"):
        load_booster(path)
    loaded = load_booster(path, allow_pickle=True)
    data = xgb.DMatrix(ROWS)
    expected = fitted.get_booster().predict(data)
    np.testing.assert_array_equal(loaded.booster.predict(data), expected)
    info = loaded.info
    assert (info.format, info.features, info.classes, info.rounds) == ("pickle", 4, 2, 5)
    assert info.file_bytes == path.stat().st_size
    config = json.loads(loaded.booster.save_config())
    assert config["learner"]["generic_param"]["nthread"] == "1"


def test_without_joblib(tmp_path: Path, fitted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles.importlib.util, "find_spec", lambda _: None)
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(fitted))
    assert load_booster(path, allow_pickle=True).info.rounds == 5


def test_other_formats_load_as_ever(model_file: Path) -> None:
    assert load_booster(model_file, allow_pickle=True).info.format == model_file.suffix[1:]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (pickle.dumps(datetime.date(2024, 1, 1)), "holds a datetime.date"),
        (pickle.dumps({"model": None}), "holds a builtins.dict"),
        (pickle.dumps(xgb.XGBRegressor()), "NotFittedError: need to call fit"),
        (pickle.dumps(Raises(ValueError("no\nsuch thing."))), "opened: ValueError: no. It needs"),
        (pickle.dumps(datetime.date(2024, 1, 1), 2)[:-5], "cannot be opened"),
        (b"\x80\x04\x8c\x06absent\x8c\x01M\x93.", "No module named 'absent'"),
        (b"x\x9cnot zlib", "cannot be opened"),
        (b"not a model", "not an XGBoost model"),
        (b"", "is empty"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "xgboost-model"
    path.write_bytes(content)
    message = refusal(path)
    assert says in message
    if "opened" in message:
        assert f"XGBoost, which here is {xgb.__version__}" in message


def test_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(Raises(MemoryError())))
    with pytest.raises(OutOfMemoryError, match=r"'model\.pkl'"):
        load_booster(path, allow_pickle=True)
