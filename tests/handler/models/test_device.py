"""Where to predict. No GPU is needed: what is asked of the machine is set here."""

from __future__ import annotations

import pytest
import xgboost as xgb

from mme_handler.errors import ModelLoadError
from mme_handler.models import device


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Set whether XGBoost is built with CUDA, and whether there is a GPU."""

    def set_up(*, built: bool, present: bool) -> None:
        driver = tmp_path / "nvidiactl"
        if present:
            driver.touch()
        monkeypatch.setattr(device, "_DRIVER", driver)
        monkeypatch.setattr(xgb, "build_info", lambda: {"USE_CUDA": built})

    return set_up


@pytest.mark.parametrize("built", [True, False])
@pytest.mark.parametrize("present", [True, False])
def test_auto_and_cpu(machine, built, present):
    machine(built=built, present=present)
    assert device.resolve("cpu") == "cpu"
    assert device.resolve("auto") == ("cuda" if built and present else "cpu")


def test_cuda(machine):
    machine(built=True, present=True)
    assert device.resolve("cuda") == "cuda"


@pytest.mark.parametrize(
    ("built", "reason"), [(True, "there is no GPU"), (False, "is built without CUDA")]
)
def test_cuda_without_a_gpu(machine, built, reason):
    machine(built=built, present=False)
    with pytest.raises(ModelLoadError, match=f"{reason}: set device to auto or cpu"):
        device.resolve("cuda")


@pytest.mark.parametrize(
    ("model", "container", "expected"),
    [
        (None, "cuda", "cuda"),
        ("auto", "cuda", "cuda"),
        ("cuda", "cuda", "cuda"),
        ("cpu", "cuda", "cpu"),
        (None, "cpu", "cpu"),
        ("auto", "cpu", "cpu"),
        ("cpu", "cpu", "cpu"),
        (None, "auto", "cpu"),
        ("cpu", "auto", "cpu"),
    ],
)
def test_a_model_and_its_container(machine, model, container, expected):
    machine(built=True, present=False)
    assert device.choose(model, container) == expected


@pytest.mark.parametrize(
    ("present", "reason"), [(True, "this container serves on the CPU"), (False, "there is no GPU")]
)
def test_a_model_that_wants_a_gpu_in_a_container_on_the_cpu(machine, present, reason):
    machine(built=True, present=present)
    with pytest.raises(ModelLoadError, match=f"device cuda is wanted, and {reason}"):
        device.choose("cuda", "cpu")
