"""`docker run IMAGE train` on the tree of a job, and its model served by the same image."""

from __future__ import annotations

import tarfile

import numpy as np
import pytest
import xgboost as xgb

from mme_training.houses import FEATURES, make_houses
from mme_training.split import split
from support.container import assert_answers
from support.models import Model, csv_of
from support.serving import until
from support.training_job import TrainingJob

pytestmark = pytest.mark.container

PARTS = split(make_houses("Chicago_IL"), 7)
ROWS = PARTS.test[list(FEATURES)].to_numpy(np.float32)


@pytest.fixture
def job(tmp_path):
    job = TrainingJob(tmp_path / "ml")
    job.put("train", "train.csv", PARTS.train)
    job.put("validation", "validation.csv", PARTS.validation)
    return job


@pytest.fixture
def train(run):
    """Start a job's container."""

    def start(job, **options):
        volumes = {str(job.root): {"bind": "/opt/ml", "mode": "rw"}}
        return run("train", volumes=volumes, **options)

    return start


def test_a_job_leaves_a_model_that_the_image_serves(job, train, run, serve, make_model):
    container = train(job)
    assert container.wait(120) == 0, container.log_text()
    log = container.log_text()
    assert "Train matrix has 600 rows and 6 columns" in log
    assert "\tvalidation-rmse:" in log
    assert [path.name for path in job.model.iterdir()] == ["xgboost-model"]
    assert job.failure is None
    booster = xgb.Booster(model_file=job.model / "xgboost-model")

    # SageMaker packs what is in the directory; a multi-model endpoint unpacks it again.
    archive = job.root / "output/model.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(job.model, arcname=".")
    name = "f" * 64
    with tarfile.open(archive) as tar:
        tar.extractall(make_model.root / name / "model", filter="data")
    model = Model(name, make_model.root / name / "model", booster)
    server = serve()
    server.add(model)
    assert_answers(server, model, ROWS)

    alone = run("serve", volumes={str(job.model): {"bind": "/opt/ml/model", "mode": "ro"}})
    alone.wait_ready()
    headers = {"content-type": "text/csv", "accept": "text/csv"}
    answer = alone.send("POST", "/invocations", csv_of(ROWS), headers)
    assert np.array_equal(np.float32(answer.text.split()), model.predict(ROWS))


def test_an_unprivileged_user_trains_without_a_network(job, train):
    for path in (job.model, job.root / "output"):
        path.chmod(0o777)
    options = {"user": "1000", "read_only": True, "tmpfs": {"/tmp": ""}}
    container = train(job, network_mode="none", **options)
    assert container.wait(120) == 0, container.log_text()
    assert (job.model / "xgboost-model").stat().st_uid == 1000


def test_bad_data_is_the_failure(job, train):
    (job.channel("train") / "train.csv").write_text("1,2,3\n4,five,6\n")
    container = train(job)
    assert container.wait(60) == 1
    assert "train.csv" in job.failure
    assert "line 2" in job.failure
    assert not list(job.model.iterdir())
    assert "Traceback" not in container.log_text()


def test_a_wrong_hyperparameter_is_the_failure(job, train):
    job.write("hyperparameters.json", {"objective": "reg:squarederror", "num_rounds": "5"})
    assert train(job).wait(60) == 1
    assert "num_round" in job.failure


def test_nothing_is_laid_out(run):
    container = run("train")
    assert container.wait(60) == 1
    assert "Traceback" not in container.log_text()


def test_stopped_it_saves_the_model(job, train):
    job.write(
        "hyperparameters.json",
        {"objective": "reg:squarederror", "num_round": "1000000", "max_depth": "3"},
    )
    container = train(job)
    until(lambda: "[20]" in container.log_text(), 60, "twenty rounds")
    assert container.stop(within=30) == 0, container.log_text()[-2000:]
    assert xgb.Booster(model_file=job.model / "xgboost-model").num_boosted_rounds() >= 20
    assert job.failure is None


def test_a_script_trains_and_its_orphans_are_reaped(job, train):
    """Process 1 of a job has children that are not its own."""
    job.set_channels(train="text/csv", code=None)
    (job.channel("code") / "train.py").write_text(
        "import os, subprocess\n"
        "subprocess.run(['sh', '-c', '(sleep 0.1 &)'])\n"
        "open(os.environ['SM_MODEL_DIR'] + '/done', 'w').write('yes')\n"
    )
    assert train(job).wait(60) == 0
    assert (job.model / "done").read_text() == "yes"
