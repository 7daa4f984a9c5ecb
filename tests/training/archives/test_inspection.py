from __future__ import annotations

import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from mme_training.archives.inspection import Inspection, inspect_archive, inspect_directory
from mme_training.archives.pack import ArchiveError
from support.archives import booster, fill, link, tar
from support.models import make_rows


def inspect(directory: Path, files, check: int | None = None) -> Inspection:
    directory.mkdir(exist_ok=True)
    return inspect_directory(fill(directory, files, check))


def texts(found: Inspection) -> list[str]:
    return [str(problem) for problem in found.problems]


def test_a_plain_model(tmp_path) -> None:
    found = inspect(tmp_path, {"model.ubj": booster(), "mme.toml": 'memory = "3m"'}, check=0)

    (model,) = found.models
    size = len(booster().save_raw("ubj"))
    assert (found.home, found.loads, found.problems) == ("shared", True, ())
    assert found.memory == 3 << 20
    assert found.settings == {"memory": 3 << 20}
    assert found.files.keys() == {"check.csv", "mme.toml", "model.ubj"}
    assert found.check_rows == 10
    assert found.outputs == 1
    assert (model.name, model.bytes, model.format) == ("model.ubj", size, "ubj")
    assert model.xgboost == xgb.__version__
    assert (model.objective, model.features, model.rounds) == ("reg:squarederror", 6, 25)
    assert (model.trees, model.best_iteration, model.classes) == (25, None, 0)


def test_what_the_estimate_of_memory_is(tmp_path) -> None:
    plain = inspect(tmp_path / "a", {"model.ubj": booster()})
    own = inspect(tmp_path / "b", {"model.ubj": booster(), "code/inference.py": "model_fn = 1"})
    assert plain.memory == 560_000 + int(1.4 * plain.models[0].bytes)
    assert own.memory == plain.memory - 560_000 + 10_000_000


def test_categories_classes_and_the_best_round(tmp_path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"area": rng.normal(size=300), "place": pd.Categorical(rng.choice(["a", "b"], 300))}
    )
    matrix = xgb.DMatrix(frame, rng.integers(0, 3, 300), enable_categorical=True)
    parameters = {"objective": "multi:softprob", "num_class": 3, "nthread": 1}
    trained = xgb.train(
        parameters, matrix, 9, evals=[(matrix, "t")], early_stopping_rounds=3, verbose_eval=False
    )
    found = inspect(tmp_path, {"model.json": trained})

    (model,) = found.models
    assert (model.format, model.classes, found.outputs) == ("json", 3, 3)
    assert model.feature_names == ("area", "place")
    assert model.feature_types == ("float", "c")
    assert model.categories == {"place": ["a", "b"]}
    assert (model.rounds, model.trees) == (9, 27)
    assert model.best_iteration == trained.best_iteration


def test_a_linear_model_has_no_trees(tmp_path) -> None:
    rows = np.nan_to_num(make_rows(50))
    linear = xgb.train({"booster": "gblinear", "nthread": 1}, xgb.DMatrix(rows, rows[:, 0]), 2)
    (model,) = inspect(tmp_path, {"model.ubj": linear}).models
    assert (model.booster, model.trees) == ("gblinear", 0)


def test_code_requirements_and_an_ensemble(tmp_path) -> None:
    files = {
        "xgboost-model-0": booster(0),
        "xgboost-model-1": booster(1),
        "code/inference.py": "raise SystemExit('it was run')\ndef input_fn(body, t): ...\n",
        "code/requirements.txt": "# ours\nnumpy>=1\nno-such-package-at-all==1.2\n",
    }
    found = inspect(tmp_path, files)

    assert found.home == "isolated"
    assert found.home_reason == "it brings code of its own, code/inference.py"
    assert found.script is not None
    assert found.script.hooks == ("input_fn",)
    assert found.requirements == ("numpy>=1", "no-such-package-at-all==1.2")
    assert [model.name for model in found.models] == ["xgboost-model-0", "xgboost-model-1"]
    assert found.loads
    assert found.outputs is None
    (problem,) = texts(found)
    assert "not installed here: no-such-package-at-all==1.2" in problem


def test_code_without_a_known_function_is_noted(tmp_path) -> None:
    found = inspect(tmp_path, {"model.ubj": booster(), "inference.py": "def predict(): ..."})
    assert found.loads
    assert "inference.py defines none of the functions" in texts(found)[0]


def test_a_pickle_is_named_and_never_opened(tmp_path) -> None:
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "opened",))

    found = inspect(tmp_path / "model", {"model.pkl": pickle.dumps(Trap())})

    assert not found.loads
    assert found.models[0].format == "pickle"
    assert "'model.pkl' is a Python pickle" in texts(found)[0]
    assert not (tmp_path / "opened").exists()


def test_check_rows_of_another_model_are_noted(tmp_path) -> None:
    found = inspect(tmp_path, {"model.ubj": booster(), "check.csv": "a,b,prediction\n1,2,3\n"})
    assert found.loads
    assert found.check_rows == 0
    assert "check.csv has 2 columns of features, and the model takes 6" in texts(found)[0]


def test_the_same_problem_is_told_once(tmp_path) -> None:
    found = inspect(tmp_path, {"model.ubj": booster(), "mme.toml": "thread = 1"})
    assert not found.loads
    (problem,) = texts(found)
    assert "did you mean 'threads'" in problem


def test_an_archive_with_everything_wrong(tmp_path) -> None:
    device = tarfile.TarInfo("device")
    device.type = tarfile.CHRTYPE
    archive = tar(
        tmp_path / "a.tar.gz",
        {
            "model/model.ubj": bytes(booster().save_raw("ubj")),
            "model/.DS_Store": b"",
            "/etc/evil": b"x",
            "link": link("link", "/etc/passwd"),
            "device": device,
        },
    )
    found = inspect_archive(archive)

    assert not found.loads
    assert found.archive_bytes == archive.stat().st_size
    assert [problem.text for problem in found.problems if problem.refused] == [
        "'/etc/evil' is not a name within the archive",
        "'link' is neither a file nor a directory",
        "'device' is neither a file nor a directory",
        "there is no model file at the root: everything is in model/, where no server looks",
    ]
    assert any("files of tools: model/.DS_Store" in text for text in texts(found))


def test_what_is_found_can_be_written_as_json(tmp_path) -> None:
    found = inspect(tmp_path, {"model.ubj": booster(), "code/inference.py": "model_fn = 1"})
    written = json.loads(json.dumps(found.as_dict()))
    assert written["loads"] is True
    assert written["script"]["hooks"] == ["model_fn"]


def test_what_is_no_archive_or_too_large(tmp_path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(b"x")
    bomb = tar(tmp_path / "b.tar.gz", {"model.ubj": bytes(1_000_000)})
    with pytest.raises(ArchiveError, match="cannot be extracted"):
        inspect_archive(tmp_path / "a.tar.gz")
    with pytest.raises(ArchiveError, match="unpacks to more than"):
        inspect_archive(bomb, limit=999_999)
