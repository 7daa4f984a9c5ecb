"""What outlives the process, and what clients see of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mme_local.errors import LocalError
from support.local_api import LocalApi, Server
from support.local_requests import config, model, training_job


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def kept(moto: str, server: Server, state: Path) -> Iterator[LocalApi]:
    """An API with one of everything, kept in `state`."""
    with server.serving(moto, state) as api:
        sagemaker = server.client("sagemaker")
        tags = [{"Key": "city", "Value": "Chicago"}]
        sagemaker.create_model(**model(Environment={"A": "1"}), Tags=tags)
        sagemaker.create_endpoint_config(**config())
        sagemaker.create_endpoint(EndpointName="houses", EndpointConfigName="houses")
        for name in ("done", "under-way"):
            sagemaker.create_training_job(**training_job(name))
        yield api


def descriptions(sagemaker: Any) -> list[dict[str, Any]]:
    answers = [
        sagemaker.describe_model(ModelName="houses"),
        sagemaker.describe_endpoint_config(EndpointConfigName="houses"),
        sagemaker.describe_training_job(TrainingJobName="done"),
        sagemaker.list_tags(ResourceArn=sagemaker.list_models()["Models"][0]["ModelArn"]),
    ]
    return [{**answer, "ResponseMetadata": None} for answer in answers]


def test_everything_is_as_it_was_after_a_restart(
    moto: str, server: Server, state: Path, kept: LocalApi
) -> None:
    sagemaker = server.client("sagemaker")

    def complete() -> None:
        job = kept.jobs.started[0]
        job.status, job.secondary = "Completed", "Completed"  # a runner that tells nobody
        job.metrics = [{"MetricName": "rmse", "Value": 0.5, "Timestamp": time.time()}]
        job.ended_event.set()

    kept.on_loop(complete)
    time.sleep(0.2)
    before = descriptions(sagemaker)
    sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="houses",
        DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 4}],
    )
    sagemaker.delete_endpoint_config(EndpointConfigName="houses")
    sagemaker.create_endpoint_config(**config())
    with server.serving(moto, state) as again:
        after = descriptions(sagemaker)
        before[1]["CreationTime"] = after[1]["CreationTime"]
        assert after == before
        (endpoint,) = again.endpoints.created
        assert endpoint.config == kept.endpoints.created[0].config
        (shown,) = sagemaker.describe_endpoint(EndpointName="houses")["ProductionVariants"]
        assert (shown["DesiredInstanceCount"], shown["CurrentInstanceCount"]) == (4, 4)


def test_jobs_that_were_under_way_have_failed_after_a_restart(
    moto: str, server: Server, state: Path, kept: LocalApi
) -> None:
    with server.serving(moto, state):
        job = server.client("sagemaker").describe_training_job(TrainingJobName="under-way")
        assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Failed", "Failed")
        assert "the local SageMaker ended while the job ran" in job["FailureReason"]


def test_an_endpoint_serves_after_a_restart_what_it_was_updated_to(
    moto: str, server: Server, state: Path, kept: LocalApi
) -> None:
    sagemaker = server.client("sagemaker")
    sagemaker.create_endpoint_config(**config("two", InstanceType="ml.m5.large"))
    sagemaker.update_endpoint(EndpointName="houses", EndpointConfigName="two")
    with server.serving(moto, state) as again:
        assert again.endpoints.created[0].config.variants[0].instance_type == "ml.m5.large"


def test_what_was_deleted_is_gone_after_a_restart(
    moto: str, server: Server, state: Path, kept: LocalApi
) -> None:
    sagemaker = server.client("sagemaker")
    sagemaker.delete_model(ModelName="houses")
    kept.on_loop(kept.endpoints.may_delete.clear)
    sagemaker.delete_endpoint(EndpointName="houses")  # and the process ends before it is done
    with server.serving(moto, state) as again:
        assert sagemaker.list_models()["Models"] == []
        assert sagemaker.list_endpoints()["Endpoints"] == []
        assert again.endpoints.created == []


def test_files_are_whole_and_readable(state: Path, kept: LocalApi) -> None:
    files = sorted(str(path.relative_to(state)) for path in state.rglob("*") if path.is_file())
    assert files == [
        "sagemaker/endpoint-configs/houses.json",
        "sagemaker/endpoints/houses.json",
        "sagemaker/models/houses.json",
        "sagemaker/tags/model.houses.json",
        "sagemaker/training-jobs/done.json",
        "sagemaker/training-jobs/under-way.json",
    ]
    document = json.loads((state / "sagemaker/models/houses.json").read_text())
    assert document["request"]["PrimaryContainer"]["Environment"] == {"A": "1"}


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"name": 1, "more": 2}'])
def test_a_file_that_is_not_ours_is_named(
    moto: str, server: Server, state: Path, text: str
) -> None:
    path = state / "sagemaker" / "models" / "houses.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    unreadable = pytest.raises(LocalError, match=r"models/houses\.json cannot be read")
    with unreadable, server.serving(moto, state):
        pass


def test_without_a_directory_nothing_is_written(
    api: LocalApi, sagemaker: Any, tmp_path: Path
) -> None:
    sagemaker.create_model(**model())
    assert list(tmp_path.iterdir()) == []


def test_requests_that_change_something_are_events(api: LocalApi, sagemaker: Any) -> None:
    sagemaker.create_model(**model())
    sagemaker.describe_model(ModelName="houses")
    sagemaker.list_models()
    (event,) = api.events.recent
    assert (event["kind"], event["operation"], event["name"]) == (
        "request",
        "CreateModel",
        "houses",
    )
