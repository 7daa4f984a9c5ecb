"""Algorithm mode: a whole job, laid out as SageMaker does it and run as a process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from mme_training.houses import FEATURES, LABEL, make_houses
from mme_training.split import Split, split
from support.training_job import HYPERPARAMETERS, TrainingJob

PARTS = split(make_houses("Chicago_IL"), 7)

# https://docs.aws.amazon.com/sagemaker/latest/dg/xgboost-tuning.html; "#011" is a tab there.
METRIC = r".*\[[0-9]+\].*\tvalidation-rmse:(\S+)"


def _matrix(rows: pd.DataFrame) -> xgb.DMatrix:
    return xgb.DMatrix(rows[list(FEATURES)].to_numpy(np.float32), rows[LABEL])


def _expected(
    parts: Split = PARTS, rounds: int = 25, early: int | None = None, **more: Any
) -> tuple[xgb.Booster, dict[str, dict[str, list[float]]]]:
    """What XGBoost itself makes of the same data and hyperparameters."""
    history: dict[str, dict[str, list[float]]] = {}
    parameters = {name: value for name, value in HYPERPARAMETERS.items() if name != "num_round"}
    train, validation = _matrix(parts.train), _matrix(parts.validation)
    stop = [xgb.callback.EarlyStopping(rounds=early, save_best=True)] if early else []
    booster = xgb.train(
        {**parameters, **more},
        train,
        rounds,
        evals=[(train, "train"), (validation, "validation")],
        evals_result=history,
        callbacks=stop,
        verbose_eval=False,
    )
    return booster, history


def _job(root: Path, **hyperparameters: Any) -> TrainingJob:
    job = TrainingJob(root, hyperparameters)
    job.put("train", "train.csv", PARTS.train)
    job.put("validation", "validation.csv", PARTS.validation)
    return job


def _logged(output: str, data: str = "validation") -> list[float]:
    return [float(value) for value in re.findall(METRIC.replace("validation", data), output)]


def test_a_job_leaves_the_model_that_xgboost_itself_makes(tmp_path) -> None:
    job = _job(tmp_path)
    done = job.run()

    assert done.returncode == 0, done.stdout + done.stderr
    booster, history = _expected()
    assert (job.model / "xgboost-model").read_bytes() == booster.save_raw("ubj")
    assert [path.name for path in job.model.iterdir()] == ["xgboost-model"]
    assert job.failure is None
    for data in ("train", "validation"):
        np.testing.assert_allclose(
            _logged(done.stdout, data), history[data]["rmse"], rtol=0, atol=0.5e-5
        )
    assert "Train matrix has 600 rows and 6 columns" in done.stdout
    assert "Validation matrix has 300 rows" in done.stdout


def test_it_stops_early_and_keeps_the_best_trees(tmp_path) -> None:
    job = _job(tmp_path, early_stopping_rounds="3", num_round="400", eta="0.9")
    done = job.run()

    assert done.returncode == 0, done.stdout + done.stderr
    booster, history = _expected(rounds=400, early=3, eta="0.9")
    assert booster.num_boosted_rounds() < len(history["train"]["rmse"]) < 400
    assert (job.model / "xgboost-model").read_bytes() == booster.save_raw("ubj")
    assert len(_logged(done.stdout)) == len(history["train"]["rmse"])


def test_files_in_nested_directories_are_read_in_order(tmp_path) -> None:
    job = TrainingJob(tmp_path, train="text/csv", validation="text/csv")
    job.put("train", "a/deep/er/1.csv", PARTS.train[:200])
    job.put("train", "b/2.csv", PARTS.train[200:])
    job.put("validation", "v.csv", PARTS.validation)
    assert job.run().returncode == 0
    assert (job.model / "xgboost-model").read_bytes() == _expected()[0].save_raw("ubj")


@pytest.mark.parametrize(
    ("hyperparameters", "expected"),
    [
        ({"max_dept": "5"}, "max_depth"),
        ({"num_round": "many"}, "num_round"),
        ({"device": "cuda"}, "device"),
    ],
)
def test_hyperparameters_are_refused_before_data_is_read(
    tmp_path, hyperparameters: dict[str, str], expected: str
) -> None:
    job = _job(tmp_path, **hyperparameters)
    job.put("train", "train.csv", pd.DataFrame({"a": ["not", "a", "number"]}))
    done = job.run()
    assert done.returncode == 1
    assert job.failure is not None
    assert expected in job.failure
    assert "Traceback" not in job.failure
    assert not list(job.model.iterdir())


def test_bad_data_fails_with_file_line_and_column(tmp_path) -> None:
    job = _job(tmp_path)
    lines = (job.channel("train") / "train.csv").read_text().splitlines()
    lines[16] = lines[16].replace(",", ",many,", 1)
    (job.channel("train") / "train.csv").write_text("\n".join(lines))
    done = job.run()
    assert done.returncode == 1
    assert job.failure is not None
    assert "train.csv, line 17" in job.failure


@pytest.mark.parametrize("channel", ["train", "validation"])
def test_an_empty_channel_is_named(tmp_path, channel: str) -> None:
    job = _job(tmp_path)
    for path in job.channel(channel).iterdir():
        path.unlink()
    assert job.run().returncode == 1
    assert job.failure is not None
    assert job.failure.startswith(f"the channel {channel} is empty: no data file below")


def test_what_xgboost_refuses_is_the_failure_without_its_stack(tmp_path) -> None:
    job = _job(tmp_path, objective="binary:logistic")
    assert job.run().returncode == 1
    assert job.failure is not None
    assert job.failure.startswith("XGBoost refuses to train: ")
    assert "bt" not in job.failure


def test_a_spot_job_goes_on_where_it_was(tmp_path) -> None:
    job = _job(tmp_path, num_round="10")
    (tmp_path / "checkpoints").mkdir()
    assert job.run().returncode == 0
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == sorted(
        f"xgboost-checkpoint.{n}" for n in range(5, 10)
    )
    job = _job(tmp_path)
    done = job.run()
    assert done.returncode == 0
    booster = xgb.Booster(model_file=job.model / "xgboost-model")
    assert booster.num_boosted_rounds() == 25
    first = xgb.Booster(model_file=tmp_path / "checkpoints/xgboost-checkpoint.24")
    assert first.save_raw("ubj") == booster.save_raw("ubj")
    assert re.findall(r"^\[(\d+)\]\t", done.stdout, re.MULTILINE) == [str(n) for n in range(10, 25)]


def test_patience_is_counted_on_after_a_checkpoint(tmp_path) -> None:
    """An interrupted job without chance in it ends as the one that was not interrupted."""
    settings = {"early_stopping_rounds": "6", "subsample": "1", "eta": "0.9", "eval_metric": "rmse"}
    whole = _job(tmp_path / "whole", num_round="400", **settings)
    assert whole.run().returncode == 0
    kept = xgb.Booster(model_file=whole.model / "xgboost-model").num_boosted_rounds()
    parts = tmp_path / "parts"
    (parts / "checkpoints").mkdir(parents=True)
    # The first run ends between the best round and the last one of the whole.
    assert _job(parts, num_round=str(kept + 3), **settings).run().returncode == 0
    again = _job(parts, num_round="400", **settings)
    assert again.run().returncode == 0
    assert (again.model / "xgboost-model").read_bytes() == (
        whole.model / "xgboost-model"
    ).read_bytes()


@pytest.mark.parametrize("save", ["true", "false"])
def test_a_job_that_is_stopped_leaves_the_best_model_so_far(tmp_path, save: str) -> None:
    job = _job(tmp_path, num_round="1000000", save_model_on_termination=save, eta="0.001")
    process = job.start()
    assert process.stdout is not None
    assert any(line.startswith("[20]") for line in iter(process.stdout.readline, ""))
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 0, output
    assert job.failure is None
    model = job.model / "xgboost-model"
    assert model.exists() == (save == "true")
    if save == "true":
        assert xgb.Booster(model_file=model).num_boosted_rounds() > 20


def test_folds_become_an_ensemble(tmp_path) -> None:
    job = _job(tmp_path, _kfold="3", _num_cv_round="2", num_round="5")
    done = job.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in job.model.iterdir()) == [
        f"xgboost-model-{n}" for n in range(6)
    ]
    written = np.loadtxt(tmp_path / "output/data/predictions.csv", delimiter=",")
    assert written.shape == (900, 2)
    labels = np.concatenate([PARTS.train[LABEL], PARTS.validation[LABEL]]).astype(np.float32)
    np.testing.assert_allclose(written[:, 0], labels)
    # The mean of what boosters predicted that had not seen the row: near, and not equal.
    assert 0 < np.mean(np.abs(written[:, 1] - written[:, 0])) < 100_000
    means = re.findall(r"^\[5\]\ttrain-rmse:(\S+)\tvalidation-rmse:(\S+)$", done.stdout, re.M)
    assert len(means) == 3
    assert all(float(train) < float(validation) for train, validation in means)
    assert [float(means[2][n]) for n in (0, 1)] == pytest.approx(
        [np.mean([float(mean[n]) for mean in means[:2]]) for n in (0, 1)], abs=1e-4
    )


def test_folds_of_a_classification_have_a_probability_and_a_class(tmp_path) -> None:
    job = TrainingJob(tmp_path, {"objective": "binary:logistic", "_kfold": "2"}, train="text/csv")
    rows = PARTS.train.assign(PRICE=(PARTS.train[LABEL] > PARTS.train[LABEL].median()).astype(int))
    job.put("train", "train.csv", rows)
    assert job.run().returncode == 0
    written = np.loadtxt(tmp_path / "output/data/predictions.csv", delimiter=",")
    assert written.shape == (600, 3)
    np.testing.assert_array_equal(written[:, 2], written[:, 1] > 0.5)
    assert np.mean(written[:, 2] == written[:, 0]) > 0.8


@pytest.mark.parametrize("objective", ["multi:softmax", "multi:softprob"])
def test_folds_of_classes_have_the_class_of_the_greatest_probability(tmp_path, objective) -> None:
    given = {"objective": objective, "num_class": "3", "_kfold": "2", "gamma": "0"}
    job = TrainingJob(tmp_path, given, train="text/csv")
    job.put(
        "train", "train.csv", PARTS.train.assign(PRICE=pd.qcut(PARTS.train[LABEL], 3).cat.codes)
    )
    assert job.run().returncode == 0
    written = np.loadtxt(tmp_path / "output/data/predictions.csv", delimiter=",")
    assert np.mean(written[:, 2] == written[:, 0]) > 0.7
    assert ((written[:, 1] > 1 / 3) & (written[:, 1] <= 1)).all()


def test_folds_of_log_odds_have_probabilities(tmp_path) -> None:
    job = TrainingJob(tmp_path, {"objective": "binary:logitraw", "_kfold": "2"}, train="text/csv")
    cheap = PARTS.train.assign(PRICE=(PARTS.train[LABEL] < PARTS.train[LABEL].median()).astype(int))
    job.put("train", "train.csv", cheap)
    assert job.run().returncode == 0
    written = np.loadtxt(tmp_path / "output/data/predictions.csv", delimiter=",")
    assert ((written[:, 1] > 0) & (written[:, 1] < 1)).all()
    np.testing.assert_array_equal(written[:, 2], written[:, 1] > 0.5)


def test_folds_of_several_quantiles_have_a_column_for_each(tmp_path) -> None:
    given = {"objective": "reg:quantileerror", "quantile_alpha": "0.1,0.5,0.9", "_kfold": "2"}
    job = _job(tmp_path, **given, max_depth="2", num_round="60")
    done = job.run()
    assert done.returncode == 0, done.stdout + done.stderr
    written = np.loadtxt(tmp_path / "output/data/predictions.csv", delimiter=",")
    assert written.shape == (900, 4)
    assert [np.mean(written[:, 0] < column) for column in written.T[1:]] == pytest.approx(
        [0.1, 0.5, 0.9], abs=0.1
    )


@pytest.mark.parametrize("label", [[0.25, 0.5, 0.75, 1.0], [0, 0, 1, 1]])
def test_labels_that_cannot_be_stratified_are_divided_all_the_same(tmp_path, label: Any) -> None:
    job = TrainingJob(tmp_path, {"objective": "binary:logistic", "_kfold": "4"}, train="text/csv")
    job.put("train", "train.csv", PARTS.train[:4].assign(PRICE=label))
    done = job.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(job.model.iterdir())) == 4


def test_folds_that_are_stopped_leave_those_that_are_done_and_go_on_later(tmp_path) -> None:
    settings = {"_kfold": "3", "num_round": "12", "subsample": "1", "eta": "0.4"}
    settings |= {"early_stopping_rounds": "2"}
    whole = _job(tmp_path / "whole", **settings)
    (whole.root / "checkpoints").mkdir()
    first = whole.run()
    assert first.returncode == 0, first.stdout + first.stderr
    parts = _job(tmp_path / "parts", **settings)
    (parts.root / "checkpoints").mkdir()
    parts.set_channels(train="text/csv", validation="text/csv", code=None)
    # It is stopped in the second fold, which an earlier run has left something of.
    (parts.channel("code") / "train.py").write_text(
        "import os, signal\n"
        "calls = []\n"
        "def metric_fn(predictions, dtrain):\n"
        "    calls.append(1)\n"
        "    if os.path.exists(os.environ['SM_MODEL_DIR'] + '/../checkpoints/model-1'):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return 'rmse', float(((predictions - dtrain.get_label()) ** 2).mean() ** 0.5)\n"
    )
    (parts.model / "xgboost-model-1").write_bytes(b"so far")
    stopped = parts.run()
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert [path.name for path in parts.model.iterdir()] == ["xgboost-model-0"]
    assert not (tmp_path / "parts/output/data/predictions.csv").exists()

    parts.set_channels(train="text/csv", validation="text/csv")
    again = parts.run()
    assert again.returncode == 0, again.stdout + again.stderr
    rounds = [
        [xgb.Booster(model_file=path).num_boosted_rounds() for path in sorted(job.model.iterdir())]
        for job in (whole, parts)
    ]
    assert rounds[0] == rounds[1]
    means = [
        [
            float(number)
            for line in re.findall(r"^\[12\]\t.*$", done.stdout, re.M)
            for number in re.findall(r"rmse:(\S+)", line)
        ]
        for done in (first, again)
    ]
    assert len(means[0]) == 2
    assert means[0] == pytest.approx(means[1], rel=1e-6)


EARLY = """
import os, signal, sys
from pathlib import Path
from mme_training.container import entry
real = entry.read_config
def read_config(layout):
    os.kill(os.getpid(), signal.SIGTERM)
    return real(layout)
entry.read_config = read_config
sys.exit(entry.train(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("script", [False, True])
def test_sigterm_is_heard_from_the_beginning(tmp_path, script: bool) -> None:
    job = _job(tmp_path)
    if script:
        job.set_channels(train="text/csv", code=None)
        (job.channel("code") / "train.py").write_text("import time\ntime.sleep(60)\n")
    done = subprocess.run(
        [sys.executable, "-c", EARLY, str(tmp_path)], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == (143 if script else 0)
    if not script:
        assert xgb.Booster(model_file=job.model / "xgboost-model").num_boosted_rounds() == 1


def test_sigterm_after_the_model_is_saved_changes_nothing(tmp_path) -> None:
    job = _job(tmp_path)
    job.set_channels(train="text/csv", code=None)
    (job.channel("code") / "train.py").write_text(
        "import atexit, os, signal\n"
        "atexit.register(lambda: os.kill(os.getpid(), signal.SIGTERM))\n"
        "def metric_fn(predictions, dtrain):\n    return 'own', 1.0\n"
    )
    assert job.run().returncode == 0


def test_the_failure_is_of_this_run_and_any_name_can_be_in_it(tmp_path) -> None:
    job = _job(tmp_path)
    bad = job.channel("train") / os.fsdecode(b"\xff.csv")
    bad.write_text("1,2,3,4,5,6,x\n")
    assert subprocess.run(job.command(), capture_output=True, check=False).returncode == 1
    assert job.failure == "train/\\udcff.csv, line 1, column 7: 'x' is not a number"
    bad.unlink()
    assert job.run().returncode == 0
    assert job.failure is None


HOOKS = """
import json, pathlib
import numpy as np
import pandas as pd

def read_fn(directory, content_type):
    assert content_type == "text/csv"
    rows = pd.concat([pd.read_csv(path, header=None) for path in pathlib.Path(directory).iterdir()])
    features = rows.iloc[:, 1:].rename(columns=lambda n: f"f{n}")
    return features.assign(ratio=features["f2"] / features["f3"]), np.log(rows[0])

def objective_fn(predictions, dtrain):
    return predictions - dtrain.get_label(), np.ones_like(predictions)

def metric_fn(predictions, dtrain):
    return "dollars", float(np.abs(np.exp(predictions) - np.exp(dtrain.get_label())).mean())

def save_fn(booster, directory):
    pathlib.Path(directory, "columns.json").write_text(json.dumps(booster.feature_names))
"""


def test_hooks_read_learn_measure_and_save(tmp_path) -> None:
    job = _job(tmp_path, base_score="12")
    job.set_channels(train="text/csv", validation="text/csv", code=None)
    (job.channel("code") / "train.py").write_text(HOOKS)
    (job.channel("code") / "inference.py").write_text("")
    (job.channel("code") / "itself").symlink_to("itself")
    (job.channel("code") / "__pycache__").mkdir()
    done = job.run()
    assert done.returncode == 0, done.stdout + done.stderr
    booster = xgb.Booster(model_file=job.model / "xgboost-model")
    assert booster.feature_names == ["f1", "f2", "f3", "f4", "f5", "f6", "ratio"]
    assert "ratio" in (job.model / "columns.json").read_text()
    values = [float(value) for value in re.findall(r"\tvalidation-dollars:(\S+)", done.stdout)]
    assert len(values) == 25
    assert values[-1] < values[0] / 2
    copied = sorted(path.name for path in (job.model / "code").iterdir())
    assert copied == ["inference.py", "train.py"]


def test_a_hook_that_fails_is_named(tmp_path) -> None:
    job = _job(tmp_path)
    job.set_channels(train="text/csv", code=None)
    (job.channel("code") / "train.py").write_text(
        "def read_fn(directory, content_type):\n    return {}['PRICE']\n"
    )
    done = job.run()
    assert done.returncode == 1
    assert job.failure == "read_fn of the channel train failed: KeyError: 'PRICE'"
    assert "Traceback" in done.stdout


def test_bad_data_in_a_large_file_fails_in_seconds(tmp_path) -> None:
    job = TrainingJob(tmp_path, train="text/csv")
    rows = pd.concat([PARTS.train] * 500)
    path = job.put("train", "train.csv", rows)
    with path.open("a") as file:
        file.write("1,2,3,4,5,6,x\n")
    started = time.monotonic()
    assert job.run().returncode == 1
    assert job.failure is not None
    assert "train.csv, line 300001" in job.failure
    assert "column 7" in job.failure
    assert time.monotonic() - started < 60
