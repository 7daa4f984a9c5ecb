"""A real server with GPUs that are not there: a stand-in for the driver, and for CUDA in XGBoost.

What the stand-ins cannot show is whether XGBoost predicts on a GPU, and what it takes there:
`test_real_gpu` does, where there is one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.gpus import DIRECTORY, GB, FakeGpus, uuid
from support.models import csv_of, make_rows
from support.serving import Server, until

ROWS = make_rows(3, seed=5)
BODY = csv_of(ROWS)
ENVIRONMENT = {
    "PYTHONPATH": str(DIRECTORY),
    "PATH": f"{DIRECTORY}{os.pathsep}{os.environ['PATH']}",
    "CUDA_VISIBLE_DEVICES": None,
    "NVIDIA_VISIBLE_DEVICES": "all",
}
CODE = """
import os

def predict_fn(data, model, context):
    seen = os.environ["CUDA_VISIBLE_DEVICES"]
    return {"sees": seen, "gpu_id": context.system_properties["gpu_id"]}

def output_fn(prediction, accept, context):
    return prediction
"""

StartServer = Callable[..., Server]


@pytest.fixture
def gpus(tmp_path: Path) -> FakeGpus:
    """Two GPUs of a server of the test's own."""
    return FakeGpus(tmp_path)


@pytest.fixture
def start(make_server: StartServer, gpus: FakeGpus) -> StartServer:
    """Start a server that sees `gpus`."""

    def start(*args: str, **env: Any) -> Server:
        return make_server(*args, **{**ENVIRONMENT, "FAKE_GPUS": str(gpus.file), **env})

    return start


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, FakeGpus]]:
    """A server for all tests that leave it two hosts."""
    gpus = FakeGpus(tmp_path_factory.mktemp("gpus"))
    env = {**ENVIRONMENT, "FAKE_GPUS": str(gpus.file)}
    with Server(tmp_path_factory.mktemp("server"), env=env) as server:
        yield server, gpus


@pytest.fixture
def server(shared: tuple[Server, FakeGpus], gpus: FakeGpus) -> Iterator[Server]:
    """The shared server, with no model loaded; `gpus` are then its GPUs."""
    server, theirs = shared
    gpus.file, gpus.calls_file = theirs.file, theirs.calls_file
    gpus.write()
    gpus.calls_file.unlink(missing_ok=True)
    until(lambda: len(server.pids()["hosts"]) == 2)
    yield server
    gpus.fail(None)
    server.unload_all()


def predicts(server: Server, model) -> None:
    response = server.invoke(model.name, BODY)
    assert response.status_code == 200, response.text
    assert [p["score"] for p in response.json()["predictions"]] == pytest.approx(
        model.predict(ROWS).tolist()
    )


def test_a_host_for_each_gpu_and_models_where_mms_said(server, gpus, make_model):
    (line,) = [e for e in server.logs() if e.get("event", "").startswith("2 GPUs: Tesla T4")]
    assert line["event"].endswith("driver 535.183.01, CUDA 12.2")
    assert server.ready_line.endswith("2 hosts")
    hosts = server.pids()["hosts"]
    assert len(hosts) == 2
    models = [server.add(make_model()) for _ in range(4)]
    placed = [server.wait_log(event="loaded", model=m.name) for m in models]
    assert [entry["gpu"] for entry in placed] in ([1, 0, 1, 0], [0, 1, 0, 1])  # in turn
    for model in models:
        predicts(server, model)
    # A process sees one GPU, the one of the models in it.
    sees = {call["pid"]: call["sees"] for call in gpus.calls()}
    assert all(sees[entry["pid"]] == uuid(entry["gpu"]) for entry in placed)
    assert len({(call["pid"], call["sees"]) for call in gpus.calls()}) == 2
    assert set(sees) == set(hosts)


def test_a_full_gpu_is_507_before_anything_is_loaded(server, gpus, make_model):
    gpus.use(0, 16 * GB - 1)
    gpus.use(1, 16 * GB - 1)
    model = make_model()
    response = server.load_response(model.name, model.path)
    assert response.status_code == 507, response.text
    assert "on the GPU" in server.wait_log(event="load failed", model=model.name)["reason"]
    assert not gpus.calls_file.exists()
    gpus.use(0, 0)
    # MMS names the GPUs in turn.
    assert sorted(server.load(m.name, m.path)[0] for m in (make_model(), make_model())) == [
        200,
        507,
    ]
    gpus.use(1, 0)
    predicts(server, server.add(model))


def test_a_model_for_the_cpu_takes_no_room_on_a_gpu(server, gpus, make_model):
    for number in range(2):
        gpus.use(number, 16 * GB - 1)
    predicts(server, server.add(make_model(files={"mme.toml": 'device = "cpu"'})))
    assert not gpus.calls_file.exists()


def test_unloading_gives_the_room_back(server, gpus, make_model):
    model = server.add(make_model())
    gpu = str(server.wait_log(event="loaded", model=model.name)["gpu"])
    charged = server.metric("mme_gpu_memory_charged_bytes", gpu=gpu)
    own = server.metric("mme_model_gpu_memory_bytes", model=model.name)
    assert own > 0
    server.unload(model.name)
    until(lambda: server.metric("mme_models") == 0)
    assert server.metric("mme_gpu_memory_charged_bytes", gpu=gpu) == charged - own


def test_metrics(server, gpus):
    gpus.use(1, 3 * GB)
    assert server.metric("mme_gpu_memory_used_bytes", gpu="0") == GB // 2
    assert server.metric("mme_gpu_memory_used_bytes", gpu="1") == 3 * GB
    assert server.metric("mme_gpu_memory_total_bytes", gpu="1") == 16 * GB


def test_a_gpu_without_memory_is_507_and_the_host_goes_on(server, gpus, make_model):
    model = server.add(make_model())
    hosts = server.pids()["hosts"]
    gpus.fail("Memory allocation error on worker 0: cudaErrorMemoryAllocation: out of memory")
    assert server.invoke(model.name, BODY).status_code == 507
    other = make_model()
    assert server.load(other.name, other.path)[0] == 507
    gpus.fail(None)
    predicts(server, model)
    assert server.pids()["hosts"] == hosts


def test_a_host_whose_context_is_lost_is_replaced(server, gpus, make_model):
    models = [server.add(make_model()) for _ in range(4)]
    hosts = set(server.pids()["hosts"])
    restarts = server.metric("mme_restarts_total", kind="host")
    gpus.fail("a.cu: 1: cudaErrorIllegalAddress: an illegal memory access was encountered")
    response = server.invoke(models[0].name, BODY)
    assert response.status_code == 500
    assert "cudaErrorIllegalAddress" in response.text
    gpus.fail(None)
    line = server.wait_log(context_lost=True, model=models[0].name)
    assert line["event"].startswith("CUDA failed: code on the GPU has used memory that is not")
    until(lambda: len(hosts & set(server.pids()["hosts"])) == 1, 10)
    until(lambda: server.metric("mme_restarts_total", kind="host") == restarts + 1, 10)
    for model in models:
        until(lambda m=model: server.invoke(m.name, BODY).status_code == 200, 10)
        predicts(server, model)
    # The new host sees the GPU of the old one.
    assert len({call["pid"] for call in gpus.calls()}) == 3
    assert {call["sees"] for call in gpus.calls()} == {uuid(0), uuid(1)}


def test_an_error_that_a_new_process_would_not_mend_ends_none(server, gpus, make_model):
    model = server.add(make_model())
    hosts = server.pids()["hosts"]
    gpus.fail("cudaErrorNoKernelImageForDevice: no kernel image is available for execution")
    assert server.invoke(model.name, BODY).status_code == 500
    other = make_model()
    assert server.load(other.name, other.path)[0] == 500
    line = server.wait_log(context_lost=False, model=other.name)
    assert "XGBoost has no code for this GPU" in line["event"]
    gpus.fail(None)
    predicts(server, model)
    assert server.pids()["hosts"] == hosts


def test_a_context_that_is_lost_in_a_load(server, gpus, make_model):
    hosts = set(server.pids()["hosts"])
    gpus.fail("cudaErrorLaunchFailure: unspecified launch failure")
    model = make_model()
    assert server.load(model.name, model.path)[0] == 500
    gpus.fail(None)
    until(lambda: set(server.pids()["hosts"]) - hosts, 10)
    predicts(server, server.add(make_model()))
    predicts(server, server.add(model))


def test_a_model_with_code_sees_its_gpu_as_number_0(server, make_model):
    answers = []
    for _ in range(2):
        model = server.add(make_model(files={"code/inference.py": CODE}))
        answers.append(server.invoke(model.name, BODY).json())
    assert [answer["gpu_id"] for answer in answers] == [0, 0]
    assert sorted(answer["sees"] for answer in answers) == [uuid(0), uuid(1)]


def test_a_worker_whose_context_is_lost_is_replaced(server, gpus, make_model):
    code = {"code/inference.py": "def input_fn(body, type):\n    raise RuntimeError(body)\n"}
    model = server.add(make_model(files=code))
    (before,) = server.pids()["isolated"]
    body = "CUDA error: device-side assert triggered"
    assert server.invoke(model.name, body).status_code == 500
    server.wait_log(event="lost its GPU, forking another isolated worker", model=model.name)
    until(lambda: server.pids()["isolated"] not in ([before], []), 10)
    assert server.invoke(model.name, "no such").status_code == 500


def test_one_model_alone_is_on_every_gpu(start, gpus, make_model):
    model = make_model()
    server = start(
        "--model", str(model.path), SAGEMAKER_MULTI_MODEL=None, SAGEMAKER_MODEL_SERVER_WORKERS=None
    )
    until(lambda: {call["sees"] for call in gpus.calls()} == {uuid(0), uuid(1)}, 10)
    response = server.client.post(
        "/invocations", content=BODY, headers={"content-type": "text/csv"}
    )
    assert response.status_code == 200


def test_only_visible_gpus(start, gpus, make_model):
    server = start(CUDA_VISIBLE_DEVICES="1")
    assert server.ready_line.endswith("1 hosts")
    for _ in range(2):
        predicts(server, server.add(make_model()))
    assert {call["sees"] for call in gpus.calls()} == {uuid(1)}


def test_auto_without_a_gpu_says_so_once_and_serves_on_the_cpu(start, gpus, make_model):
    gpus.file.unlink()
    server = start(MME_DEVICE="auto", MME_HOSTS="1")
    lines = [e for e in server.logs() if "GPU" in e.get("event", "")]
    assert [line["event"] for line in lines] == ["no GPU: serving on the CPU"]
    predicts(server, server.add(make_model()))
    assert not any(name.startswith("mme_gpu") for name in server.metrics())
    model = make_model(files={"mme.toml": 'device = "cuda"'})
    assert server.load(model.name, model.path)[0] == 500


@pytest.mark.parametrize("fake", [True, False])
def test_cuda_without_a_gpu_does_not_start(start, make_server, gpus, fake):
    gpus.file.unlink()
    begin = start if fake else make_server
    server = begin(MME_DEVICE="cuda", ready=False)
    assert server.process.wait(30) != 0
    text = server.log_text()
    reason = "NVIDIA's driver shows none" if fake else "this XGBoost is built without CUDA"
    assert reason in text
    assert "MME_DEVICE is cuda; auto or cpu serves on the CPU" in text
    assert "Traceback" not in text


def test_on_the_cpu_the_gpus_are_left_alone(start, gpus, make_model):
    server = start(MME_DEVICE="cpu", MME_HOSTS="1")
    predicts(server, server.add(make_model()))
    assert not [e for e in server.logs() if "GPU" in e.get("event", "")]
    model = make_model(files={"mme.toml": 'device = "cuda"'})
    assert server.load(model.name, model.path)[0] == 500
