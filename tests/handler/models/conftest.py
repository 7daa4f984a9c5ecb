"""Tiny models of every kind, trained once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from mme_handler.models.booster import LoadedBooster, load_booster

FEATURES = 5
_TREES: dict[str, Any] = {"max_depth": 3, "nthread": 1, "seed": 1}
_QUANTILES = {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.5, 0.9]}
_CLASSES = {"num_class": 3}

# name -> (parameters, which label to learn, arguments of the DMatrix)
MODELS: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "squarederror": ({**_TREES, "objective": "reg:squarederror"}, "number", {}),
    "logistic": ({**_TREES, "objective": "binary:logistic"}, "yes_no", {}),
    "softprob": ({**_TREES, **_CLASSES, "objective": "multi:softprob"}, "class", {}),
    "softmax": ({**_TREES, **_CLASSES, "objective": "multi:softmax"}, "class", {}),
    "poisson": ({**_TREES, "objective": "count:poisson"}, "class", {}),
    "ndcg": ({**_TREES, "objective": "rank:ndcg"}, "class", {"qid": np.arange(400) // 20}),
    "quantiles": ({**_TREES, **_QUANTILES}, "number", {}),
    "forest": ({**_TREES, "num_parallel_tree": 3, "subsample": 0.5}, "number", {}),
    "targets": (_TREES, "two", {}),
    "vector_leaf": (
        {**_TREES, "multi_strategy": "multi_output_tree", "tree_method": "hist"},
        "two",
        {},
    ),
    "dart": ({**_TREES, "booster": "dart", "rate_drop": 0.5}, "number", {}),
    "gblinear": ({"booster": "gblinear", "nthread": 1}, "number", {}),
    "gblinear_softprob": (
        {"booster": "gblinear", "nthread": 1, "objective": "multi:softprob", **_CLASSES},
        "class",
        {},
    ),
    "named": (_TREES, "number", {"feature_names": ["age", "a b", "{c}", 'd"', "\\é"]}),
    "categorical": (
        _TREES,
        "number",
        {"feature_types": ["c", "q", "q", "int", "i"], "enable_categorical": True},
    ),
}


@dataclass(frozen=True)
class Case:
    """One model, as trained, as loaded, and rows it can be asked."""

    name: str
    booster: xgb.Booster
    loaded: LoadedBooster
    rows: np.ndarray

    def expected(self, rows: np.ndarray, **arguments: Any) -> np.ndarray:
        """Return what XGBoost itself answers."""
        types = self.booster.feature_types
        matrix = xgb.DMatrix(
            rows,
            feature_names=self.booster.feature_names,
            feature_types=types,
            enable_categorical=types is not None,
            **arguments,
        )
        return self.booster.predict(matrix)


def make_rows(count: int, categories: bool = False) -> np.ndarray:
    random = np.random.default_rng(7)
    rows = random.normal(size=(count, FEATURES)).astype(np.float32)
    if categories:
        rows[:, 0] = random.integers(0, 4, count)
    rows[random.random(rows.shape) < 0.1] = np.nan
    return rows


def train(name: str) -> xgb.Booster:
    parameters, label, arguments = MODELS[name]
    rows = make_rows(400, name == "categorical")
    number = np.abs(np.nan_to_num(rows[:, 0]) + np.nan_to_num(rows[:, 1]) * 2)
    classes = np.digitize(number, [0.8, 2.0])
    labels = {
        "number": number,
        "class": classes,
        "yes_no": number > 1,
        "two": np.stack([number, classes], axis=1),
    }
    return xgb.train(parameters, xgb.DMatrix(rows, labels[label], **arguments), 8)


def train_early_stopped() -> xgb.Booster:
    """Train a model whose best iteration is not its last."""
    random = np.random.default_rng(3)
    rows, noise = make_rows(200), random.normal(size=400)
    booster = xgb.train(
        {**_TREES, "eta": 1},
        xgb.DMatrix(rows, noise[:200]),
        40,
        evals=[(xgb.DMatrix(rows[::-1], noise[200:]), "held_out")],
        early_stopping_rounds=5,
        verbose_eval=False,
    )
    assert booster.best_iteration < booster.num_boosted_rounds() - 1
    return booster


def save(booster: xgb.Booster, path: Path) -> Path:
    booster.save_model(path)
    return path


@pytest.fixture(
    scope="session",
    params=[f"{name}.{form}" for name in [*MODELS, "early_stopped"] for form in ("ubj", "json")],
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    name = request.param.split(".")[0]
    booster = train_early_stopped() if name == "early_stopped" else train(name)
    path = save(booster, tmp_path_factory.mktemp("case") / request.param)
    return Case(name, booster, load_booster(path), make_rows(5000, name == "categorical"))


@pytest.fixture(scope="session")
def simple() -> xgb.Booster:
    return train("squarederror")


@pytest.fixture
def ubj(simple: xgb.Booster, tmp_path: Path) -> Path:
    return save(simple, tmp_path / "model.ubj")


@pytest.fixture
def json_file(simple: xgb.Booster, tmp_path: Path) -> Path:
    return save(simple, tmp_path / "model.json")


@pytest.fixture(params=["ubj", "json"])
def model_file(request: pytest.FixtureRequest, simple: xgb.Booster, tmp_path: Path) -> Path:
    return save(simple, tmp_path / f"model.{request.param}")
