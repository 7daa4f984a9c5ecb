"""A real server on a real GPU: what it predicts, and whether unloading gives the memory back."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import xgboost as xgb

from support.models import csv_of, make_rows
from support.serving import Server

ROUNDS = 100
SETTLED = 5  # rounds after which CUDA's context, and what XGBoost caches, are there
# The driver gives memory in blocks of 2 MB; one for each of a host's threads may be kept.
SLACK = 16 << 20
ROWS = make_rows(2000, seed=5)


def works() -> bool:
    program = shutil.which("nvidia-smi")
    return program is not None and not subprocess.run([program], capture_output=True).returncode


pytestmark = [
    pytest.mark.skipif(
        not works(),
        reason="nvidia-smi does not work here: run this on a machine with an NVIDIA GPU and driver "
        "(in a container: docker run --gpus all)",
    ),
    pytest.mark.skipif(
        not xgb.build_info()["USE_CUDA"],
        reason="XGBoost is built without CUDA: pip uninstall xgboost-cpu, pip install xgboost",
    ),
    pytest.mark.skipif(
        not find_spec("pynvml"), reason="nvidia-ml-py is missing: pip install 'xgboost-mme[gpu]'"
    ),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def gpu_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server"), env={"MME_DEVICE": "cuda"}) as server:
        yield server
        server.unload_all()


def used(server: Server) -> float:
    """Bytes in use on all GPUs, as the driver says."""
    return sum(value for _, value in server.metrics()["mme_gpu_memory_used_bytes"])


def mapped(pid: int) -> bool:
    """Whether the process has CUDA's driver library: it has when CUDA was initialised."""
    return "libcuda.so" in Path(f"/proc/{pid}/maps").read_text()


def test_it_predicts_on_the_gpu_what_it_predicts_on_the_cpu(gpu_server, make_model):
    before = used(gpu_server)
    model = gpu_server.add(make_model())
    response = gpu_server.invoke(model.name, csv_of(ROWS))
    assert response.status_code == 200, response.text
    scores = [prediction["score"] for prediction in response.json()["predictions"]]
    assert scores == pytest.approx(model.predict(ROWS).tolist(), rel=1e-5)
    assert used(gpu_server) > before
    (zygote,) = gpu_server.pids()["zygote"]
    assert not mapped(zygote)
    assert any(map(mapped, gpu_server.pids()["hosts"]))


def test_a_hundred_loads_and_unloads_leave_the_memory_as_it_was(gpu_server, make_model):
    model = make_model()
    after: list[float] = []
    for _ in range(ROUNDS):
        gpu_server.add(model)
        assert gpu_server.invoke(model.name, csv_of(ROWS)).status_code == 200
        assert gpu_server.unload(model.name).status_code == 200
        after.append(used(gpu_server))
    assert after[-1] <= after[SETTLED] + SLACK, after


def test_many_models_at_once_give_all_back(gpu_server, make_model):
    models = [make_model() for _ in range(50)]
    after: list[float] = []
    for _ in range(3):
        for model in models:
            gpu_server.add(model)
            assert gpu_server.invoke(model.name, csv_of(ROWS)).status_code == 200
        gpu_server.unload_all()
        after.append(used(gpu_server))
    assert after[-1] <= after[0] + SLACK, after


def test_a_model_with_code_gives_its_context_back(gpu_server, make_model):
    model = make_model(files={"code/inference.py": "def predict_fn(d, m):\n    return [0.0]\n"})
    before = used(gpu_server)
    gpu_server.add(model)
    gpu_server.unload(model.name)
    assert used(gpu_server) <= before + SLACK
