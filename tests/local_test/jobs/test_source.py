from __future__ import annotations

import json
import threading

import pytest

from mme_local.jobs.errors import JobError
from mme_local.jobs.layout import Layout
from mme_local.jobs.request import plan
from mme_local.jobs.s3 import Store
from mme_local.jobs.source import bring
from support.local_jobs import BUCKET, make_job

URI = f"s3://{BUCKET}/source/sourcedir.tar.gz"
HERE = "/opt/ml/input/sourcedir.tar.gz"


@pytest.mark.parametrize(
    ("given", "left"),
    [
        (URI, HERE),
        (json.dumps(URI), json.dumps(HERE)),
        ("/opt/ml/code", "/opt/ml/code"),
        (None, None),
    ],
)
def test_the_archive_is_where_the_container_would_put_it(clients, tmp_path, given, left) -> None:
    clients.client("s3").put_object(Bucket=BUCKET, Key="source/sourcedir.tar.gz", Body=b"packed")
    named = {"sagemaker_submit_directory": given} if given else {}
    asked = plan("j", make_job("j", hyperparameters=named).request)
    store = Store(clients, threading.Event())
    brought = bring(asked, [Layout(tmp_path)], store)
    assert brought.hyperparameters.get("sagemaker_submit_directory") == left
    archive = tmp_path / "input/sourcedir.tar.gz"
    assert archive.exists() == (given is not None and "s3://" in given)


def test_an_archive_that_is_not_there(clients, tmp_path) -> None:
    named = {"sagemaker_submit_directory": URI}
    asked = plan("j", make_job("j", hyperparameters=named).request)
    with pytest.raises(JobError, match=f"^ClientError: Data download failed:{URI}"):
        bring(asked, [Layout(tmp_path)], Store(clients, threading.Event()))
