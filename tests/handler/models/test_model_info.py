"""What a loaded model tells of its training: classes, rounds, categories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from mme_handler.errors import ModelLoadError
from mme_handler.models.booster import ModelInfo, adopt, load_booster

RANDOM = np.random.default_rng(1)
ROWS = RANDOM.normal(size=(80, 4)).astype(np.float32)
NOISE = RANDOM.normal(size=80)
CHOICE = RANDOM.integers(0, 3, 80)
YEARS = {"2020": 0, "2021": 1, "2022": 2}
QUERY = np.arange(80) // 20


def saved(model: Any, path: Path) -> ModelInfo:
    model.save_model(path)
    return load_booster(path).info


def test_info_tells_classes_targets_and_rounds(case: Any) -> None:
    info = case.loaded.info
    classes = {"logistic": 2, "softprob": 3, "softmax": 3, "gblinear_softprob": 3}
    assert info.classes == classes.get(case.name, 0)
    assert info.targets == {"targets": 2, "vector_leaf": 2, "quantiles": 3}.get(case.name, 1)
    assert info.rounds == case.booster.num_boosted_rounds()
    early = case.name == "early_stopped"
    assert info.best_iteration == (case.booster.best_iteration if early else None)
    # That of the fixture was trained on numbers, so it has stored no texts.
    assert info.categories == ({} if case.name == "categorical" else None)


@pytest.mark.parametrize("suffix", ["ubj", "json"])
@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize(
    ("kind", "labels", "classes"),
    [
        (xgb.XGBClassifier, NOISE > 0, 2),
        (xgb.XGBClassifier, CHOICE, 3),
        (xgb.XGBRegressor, NOISE, 0),
        (xgb.XGBRanker, CHOICE, 0),
    ],
)
def test_scikit_learn_wrappers(
    tmp_path: Path, suffix: str, kind: Any, labels: Any, classes: int, early: bool
) -> None:
    fit: dict[str, Any] = {"eval_set": [(ROWS[::-1], labels)], "verbose": False}
    if kind is xgb.XGBRanker:
        fit |= {"qid": QUERY, "eval_qid": [QUERY]}
    model = kind(n_estimators=12, n_jobs=1, early_stopping_rounds=3 if early else None)
    model.fit(ROWS, labels, **fit)
    info = saved(model, tmp_path / f"model.{suffix}")
    assert (info.features, info.classes, info.targets) == (4, classes, 1)
    assert info.rounds == model.get_booster().num_boosted_rounds()
    assert info.best_iteration == (model.best_iteration if early else None)


@pytest.mark.parametrize("text", ["", "soon", "-1", "1.5", "²"])
def test_a_best_iteration_that_is_none(simple: xgb.Booster, tmp_path: Path, text: str) -> None:
    other = simple.copy()
    other.set_attr(best_iteration=text)
    assert saved(other, tmp_path / "model.ubj").best_iteration is None


def test_multi_label(tmp_path: Path) -> None:
    model = xgb.XGBClassifier(n_estimators=2, n_jobs=1).fit(ROWS, ROWS[:, :3] > 0)
    info = saved(model, tmp_path / "model.ubj")
    assert (info.classes, info.targets) == (2, 3)


def frame(texts: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "size": ROWS[:, 0],
            "town": pd.Categorical(np.array(["Ulm", "Bonn", "Kiel"])[CHOICE], texts),
            "year": pd.Categorical(CHOICE + 2020),
            "level": ROWS[:, 1],
        }
    )


@pytest.mark.parametrize("suffix", ["ubj", "json"])
@pytest.mark.parametrize("booster", ["gbtree", "dart"])
@pytest.mark.parametrize("order", [["Bonn", "Kiel", "Ulm"], ["Ulm", "Kiel", "Bonn"]])
def test_categories(tmp_path: Path, suffix: str, booster: str, order: list[str]) -> None:
    data = frame(order)
    trained = xgb.train(
        {"booster": booster, "max_depth": 3, "nthread": 1},
        xgb.DMatrix(data, CHOICE + ROWS[:, 0], enable_categorical=True),
        6,
    )
    trained.save_model(tmp_path / f"model.{suffix}")
    loaded = load_booster(tmp_path / f"model.{suffix}")
    info = loaded.info
    towns = {text: code for code, text in enumerate(order)}
    assert info.categories == {1: towns, 2: YEARS}
    assert adopt(trained).info.categories == info.categories

    codes = np.column_stack([ROWS[:, 0], data["town"].map(towns), CHOICE, ROWS[:, 1]]).astype(
        np.float32
    )
    plain = xgb.DMatrix(codes, feature_types=list(info.feature_types or ()), nthread=1)
    np.testing.assert_array_equal(
        loaded.booster.predict(plain, validate_features=False),
        trained.predict(xgb.DMatrix(data, enable_categorical=True)),
    )


@pytest.mark.parametrize("texts", [["Ulm", "Köln", "Bonn"], ["b", "é"], ["日本", "a"]])
def test_texts_that_xgboost_may_have_garbled_get_no_codes(tmp_path: Path, texts: list[str]) -> None:
    values = pd.Categorical(np.array(texts)[CHOICE % len(texts)], texts)
    data = xgb.DMatrix(pd.DataFrame({"town": values}), CHOICE, enable_categorical=True)
    trained = xgb.train({"max_depth": 2, "nthread": 1}, data, 2)
    assert saved(trained, tmp_path / "model.ubj").categories == {0: {}}


def with_offsets(path: Path, offsets: list[int]) -> Path:
    data = xgb.DMatrix(frame(["Bonn", "Kiel", "Ulm"]), CHOICE, enable_categorical=True)
    xgb.train({"max_depth": 2, "nthread": 1}, data, 2).save_model(path)
    model = json.loads(path.read_text())
    model["learner"]["gradient_booster"]["model"]["cats"]["enc"][1]["offsets"] = offsets
    path.write_text(json.dumps(model))
    return path


@pytest.mark.parametrize("offsets", [[0, 4, 2_000_000_000], [0, 4, -8]])
def test_damaged_categories_are_refused(tmp_path: Path, offsets: list[int]) -> None:
    with pytest.raises(ModelLoadError, match=r"'model\.json' cannot be loaded: "):
        load_booster(with_offsets(tmp_path / "model.json", offsets))


@pytest.mark.parametrize("offsets", [[0, 9, 4, 11], [0, 4, -8, 11]])
def test_damaged_categories_get_no_codes(tmp_path: Path, offsets: list[int]) -> None:
    info = load_booster(with_offsets(tmp_path / "model.json", offsets)).info
    assert info.categories == {1: {}, 2: YEARS}


def test_a_linear_model_stores_no_categories(tmp_path: Path) -> None:
    data = xgb.DMatrix(ROWS, NOISE, feature_types=["c", "q", "q", "q"], enable_categorical=True)
    trained = xgb.train({"booster": "gblinear", "nthread": 1}, xgb.DMatrix(ROWS, NOISE), 2)
    trained.feature_types = data.feature_types
    assert saved(trained, tmp_path / "model.ubj").categories == {}
