"""The image for GPUs on a machine that has none; tests/handler/test_real_gpu.py needs one."""

from __future__ import annotations

import os

import pytest
from docker.errors import ImageNotFound

from support.container import assert_answers
from support.models import make_rows

pytestmark = pytest.mark.container

ROWS = make_rows(20, seed=5)


@pytest.fixture(scope="session")
def image(engine):
    """In place of the image for CPUs."""
    name = os.environ.get("MME_TEST_GPU_IMAGE", "xgboost-mme:gpu")
    try:
        engine.images.get(name)
    except ImageNotFound:
        pytest.fail(
            f"the engine has no image {name}: make image-gpu, or name another in "
            "MME_TEST_GPU_IMAGE",
            pytrace=False,
        )
    return name


def test_what_it_asks_the_container_runtime_for(engine, image):
    config = engine.images.get(image).attrs["Config"]
    assert {"NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=compute,utility"} <= set(
        config["Env"]
    )
    assert config["Labels"]["com.amazonaws.sagemaker.capabilities.multi-models"] == "true"


def test_it_holds_cuda_and_no_driver(engine, image):
    code = """
import glob, xgboost
info = xgboost.build_info()
drivers = glob.glob("/usr/lib/**/libcuda.so*", recursive=True)
print(xgboost.__version__, info["USE_CUDA"], drivers)
"""
    said = engine.containers.run(image, ["-c", code], entrypoint="python3", remove=True)
    assert said.decode().split(maxsplit=2) == ["3.2.0", "True", "[]\n"]


def test_without_a_gpu_it_serves_on_the_cpu_and_says_so_once(serve, make_model):
    container = serve()
    model = container.add(make_model())
    assert_answers(container, model, ROWS)
    said = [line["event"] for line in container.logs() if "GPU" in line["event"]]
    assert len(said) == 1
    assert "serving on the CPU" in said[0]
    assert container.stop() == 0


def test_without_a_gpu_it_refuses_to_start_where_one_is_asked_for(run):
    container = run("serve", environment={"SAGEMAKER_MULTI_MODEL": "true", "MME_DEVICE": "cuda"})
    assert container.wait(60) == 2
    assert "MME_DEVICE" in container.log_text()
    assert "Traceback" not in container.log_text()
