"""A job of two hosts: two processes, each with its own tree, that find each other by name."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import xgboost as xgb

from mme_training.houses import FEATURES, LABEL, make_houses
from mme_training.split import split
from support.training_job import TrainingJob

HOSTS = ["127.0.0.1", "127.0.0.2"]  # Names that need no name service.
PARTS = split(make_houses("Chicago_IL"), 7)


def _jobs(root: Path, **hyperparameters: str) -> list[TrainingJob]:
    """A job on two hosts, with half of the rows each."""
    jobs = []
    for number, host in enumerate(HOSTS):
        job = TrainingJob(root / host, hyperparameters)
        job.write("resourceconfig.json", {"current_host": host, "hosts": HOSTS})
        job.put("train", f"{number}.csv", PARTS.train[number::2])
        job.put("validation", f"{number}.csv", PARTS.validation[number::2])
        described = {
            "ContentType": "text/csv",
            "TrainingInputMode": "File",
            "S3DistributionType": "ShardedByS3Key",
        }
        job.write("inputdataconfig.json", {"train": described, "validation": described})
        jobs.append(job)
    return jobs


def _run(jobs: list[TrainingJob]) -> list[tuple[int, str]]:
    processes = [job.start() for job in jobs]
    try:
        outputs = [process.communicate(timeout=120)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, out) for process, out in zip(processes, outputs, strict=True)]


@pytest.mark.slow
def test_two_hosts_leave_one_model(tmp_path) -> None:
    jobs = _jobs(tmp_path, early_stopping_rounds="5")
    for job in jobs:
        (job.root / "checkpoints").mkdir()
    (first, lines), (second, others) = _run(jobs)

    assert (first, second) == (0, 0), lines + others
    booster = xgb.Booster(model_file=jobs[0].model / "xgboost-model")
    predicted = booster.predict(xgb.DMatrix(PARTS.test[list(FEATURES)].to_numpy(np.float32)))
    assert np.sqrt(np.mean((predicted - PARTS.test[LABEL]) ** 2)) < 30_000
    assert not list(jobs[1].model.iterdir())
    assert re.findall(r"^\[(\d+)\]\ttrain-rmse:\S+\tvalidation-rmse:\S+$", lines, re.M) == [
        str(n) for n in range(25)
    ]
    assert "validation-rmse" not in others
    assert (jobs[0].root / "checkpoints/xgboost-checkpoint.24").exists()


@pytest.mark.slow
def test_bad_data_on_one_host_is_the_failure_of_both(tmp_path) -> None:
    jobs = _jobs(tmp_path)
    path = jobs[1].channel("train") / "1.csv"
    path.write_text(path.read_text() + "1,2,3,4,5,6,x\n")
    assert [status for status, _ in _run(jobs)] == [1, 1]
    for job in jobs:
        assert job.failure is not None
        assert "127.0.0.2" in job.failure
        assert "1.csv, line 301" in job.failure
