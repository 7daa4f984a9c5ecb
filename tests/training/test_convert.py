"""Old model files become ones that today's XGBoost reads; what cannot is refused in one line."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
import xgboost as xgb

from mme_training import convert as module
from mme_training.convert import ConvertError, convert

HERE = Path(sys.executable)

# Trains and saves in the old format, and prints what the model predicts.
OLD = """
import json, sys, warnings
import numpy as np, xgboost as xgb
warnings.simplefilter("ignore")
rows = np.random.default_rng(0).normal(size=(60, 3)).astype("f4")
rows[rows > 1.5] = np.nan
labels = np.nan_to_num(rows[:, 0]) + np.nan_to_num(rows[:, 1])
booster = xgb.train({"max_depth": 3, "base_score": 0.7}, xgb.DMatrix(rows, labels), 6)
booster.save_model(sys.argv[1] + ".deprecated")
predictions = xgb.Booster(model_file=sys.argv[1] + ".deprecated").predict(xgb.DMatrix(rows))
print(json.dumps([rows.tolist(), predictions.tolist()]))
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    rows = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    booster = xgb.train({"max_depth": 2, "nthread": 1}, xgb.DMatrix(rows, rows[:, 0]), 4)
    path = tmp_path / "xgboost-model"
    path.write_bytes(booster.save_raw("ubj"))
    return path


def refusal(*arguments: object, **options: object) -> str:
    with pytest.raises(ConvertError) as caught:
        convert(*arguments, **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    return message


def interpreter(path: Path, says: str, status: int = 0) -> Path:
    """Make what looks like a Python interpreter."""
    path.write_text(f"#!/bin/sh\n{says}\nexit {status}\n")
    path.chmod(0o755)
    return path


@pytest.mark.slow  # Installs two versions of XGBoost.
def test_an_old_binary_file_predicts_as_it_did(tmp_path: Path):
    venv.create(tmp_path / "venv", with_pip=True)
    old = tmp_path / "venv" / "bin" / "python"
    subprocess.run([old, "-m", "pip", "install", "--quiet", "xgboost-cpu==2.1.4"], check=True)
    done = subprocess.run(
        [old, "-c", OLD, tmp_path / "old"], check=True, capture_output=True, text=True
    )
    source = tmp_path / "old.deprecated"
    rows, expected = (np.array(part, np.float32) for part in json.loads(done.stdout))
    with pytest.raises((xgb.core.XGBoostError, UnicodeDecodeError)):
        xgb.Booster(model_file=source)

    for name, python, version in (("new.ubj", None, "3.0.5"), ("new.json", old, "2.1.4")):
        converted = convert(source, tmp_path / name, python=python)
        assert (converted.features, converted.rounds, converted.version) == (3, 6, version)
        answer = xgb.Booster(model_file=tmp_path / name).predict(xgb.DMatrix(rows))
        np.testing.assert_array_equal(answer, expected)


@pytest.mark.slow
def test_a_version_that_does_not_exist(model: Path, tmp_path: Path):
    says = refusal(model, tmp_path / "new.ubj", version="3.99.0")
    assert says.startswith("XGBoost 3.99.0 cannot be installed: ")


def test_with_a_given_interpreter(model: Path, tmp_path: Path):
    target = tmp_path / "new.json"
    converted = convert(model, target, python=HERE)
    assert (converted.features, converted.rounds) == (3, 4)
    assert converted.version == xgb.__version__
    assert "learner" in json.loads(target.read_text())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.json", "xgboost-model"]


def test_a_target_is_replaced_only_by_force(model: Path, tmp_path: Path):
    target = tmp_path / "new.ubj"
    target.write_text("precious")
    assert "--force" in refusal(model, target, python=HERE)
    assert target.read_text() == "precious"
    convert(model, target, python=HERE, force=True)
    assert xgb.Booster(model_file=target).num_features() == 3


def test_the_source_is_never_replaced(model: Path, tmp_path: Path):
    source = model.rename(tmp_path / "model.ubj")
    assert "source itself" in refusal(source, source, force=True)


@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        ("absent", "new.ubj", "no file"),
        (".", "new.ubj", "is not a file"),
        ("xgboost-model", "new.bin", r"must end in .ubj or .json"),
        ("xgboost-model", "new", r"must end in .ubj or .json"),
        ("xgboost-model", "nowhere/new.ubj", "no directory"),
        ("xgboost-model", "folder.ubj", "is a directory"),
    ],
)
def test_bad_paths(model: Path, tmp_path: Path, source: str, target: str, says: str):
    (tmp_path / "folder.ubj").mkdir()
    assert says in refusal(tmp_path / source, tmp_path / target)


@pytest.mark.parametrize("version", ["", "new", "3.0.5 --pre", ">=3", "3"])
def test_bad_version(model: Path, tmp_path: Path, version: str):
    assert "is not a version" in refusal(model, tmp_path / "new.ubj", version=version)


def test_no_interpreter(model: Path, tmp_path: Path):
    assert "no Python interpreter" in refusal(
        model, tmp_path / "new.ubj", python=tmp_path / "absent"
    )


def test_an_interpreter_without_xgboost(model: Path, tmp_path: Path):
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    says = refusal(model, tmp_path / "new.ubj", python=python)
    assert f"{python} cannot import xgboost: No module named" in says


def test_a_file_that_is_no_model(tmp_path: Path):
    source = tmp_path / "notes"
    source.write_text('{"not": "a model"}')
    says = refusal(source, tmp_path / "new.ubj", python=HERE)
    assert says.startswith(f"{source}: XGBoost {xgb.__version__} cannot convert it: ")
    assert not (tmp_path / "new.ubj").exists()


def test_a_crash(model: Path, tmp_path: Path):
    python = interpreter(tmp_path / "python", "kill -SEGV $$")
    assert "crashed on it (signal 11)" in refusal(model, tmp_path / "new.ubj", python=python)


# The interpreter gets: -c SCRIPT SOURCE RESULT.
def test_an_xgboost_that_writes_another_format(model: Path, tmp_path: Path):
    python = interpreter(tmp_path / "python", "printf binf > $4; echo '\"1.4.2\"'")
    assert "convert to .json" in refusal(model, tmp_path / "new.ubj", python=python)


def test_a_result_that_cannot_be_loaded_here(model: Path, tmp_path: Path):
    python = interpreter(tmp_path / "python", "printf '{\"a\": 1}' > $4; echo '\"1.4.2\"'")
    says = refusal(model, tmp_path / "new.json", python=python)
    assert says.startswith(f"XGBoost {xgb.__version__} cannot load the converted model: ")
    assert not (tmp_path / "new.json").exists()


def test_the_package_without_cuda_comes_first(model: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []

    def run(command: list[str], wrong: str) -> None:
        asked.append(command[-1])
        if command[-1].startswith("xgboost"):
            raise ConvertError(f"{wrong}: no")

    monkeypatch.setattr(module, "_run", run)
    says = refusal(model, model.with_name("new.ubj"), version="1.7.6")
    assert asked[1:] == ["xgboost-cpu==1.7.6", "xgboost==1.7.6"]
    assert says == "XGBoost 1.7.6 cannot be installed: no"
