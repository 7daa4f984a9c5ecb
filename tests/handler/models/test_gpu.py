"""Finding GPUs, with a stand-in for NVIDIA's driver; XGBoost's own word on CUDA is set here."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from mme_handler.models import gpu
from mme_handler.models.gpu import Gpu, GpuError, visible_of
from support.gpus import DIRECTORY, GB, FakeGpus, uuid


@pytest.fixture
def driver(monkeypatch, tmp_path) -> FakeGpus:
    """Two GPUs, a driver that shows them, and an XGBoost for CUDA 12.9."""
    for name in ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    spec = importlib.util.spec_from_file_location("pynvml", DIRECTORY / "pynvml.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "pynvml", module)
    monkeypatch.setattr(gpu, "cuda_of_xgboost", lambda: (12, 9))
    monkeypatch.setattr(gpu, "_DRIVER", tmp_path / "nvidiactl")
    gpus = FakeGpus(tmp_path)
    monkeypatch.setenv("FAKE_GPUS", str(gpus.file))
    return gpus


@pytest.fixture
def lines(monkeypatch) -> list[tuple[str, str]]:
    """What is logged: level and line, with its reason."""
    said: list[tuple[str, str]] = []

    class Log:
        def info(self, line: str, reason: str = "") -> None:
            said.append(("info", f"{line} {reason}".strip()))

        def warning(self, line: str, reason: str = "") -> None:
            said.append(("warning", f"{line} {reason}".strip()))

    monkeypatch.setattr(gpu, "log", Log())
    return said


@pytest.mark.parametrize("wanted", ["auto", "cuda"])
def test_what_there_is(driver, lines, wanted):
    gpus = gpu.find(wanted)
    assert [device.uuid for device in gpus.devices] == [uuid(0), uuid(1)]
    assert gpus.devices[0] == Gpu(uuid(0), "Tesla T4", 16 * GB, (7, 5))
    assert gpus.driver == "535.183.01"
    assert gpus.cuda == (12, 2)
    room = "Tesla T4 (15.5 of 16.0 GB free)"
    assert lines == [("info", f"2 GPUs: {room}, {room}; driver 535.183.01, CUDA 12.2")]


def test_one_gpu_is_one(driver, lines):
    del driver.state["devices"][1]
    driver.write()
    assert str(gpu.find("auto")).startswith("1 GPU: Tesla T4 (")


def test_what_is_in_use_is_asked_each_time(driver, lines):
    gpus = gpu.find("auto")
    driver.use(1, 7 * GB)
    assert [gpus.measure(device) for device in gpus.devices] == [GB // 2, 7 * GB]
    driver.state["devices"][0]["is_lost"] = True
    driver.write()
    assert gpus.measure(gpus.devices[0]) is None
    assert "? of 16.0 GB free" in str(gpus)


def test_the_cpu_is_wanted(driver, lines):
    assert gpu.find("cpu") is None
    assert lines == []


def no_driver(driver, monkeypatch):
    driver.file.unlink()


def no_devices(driver, monkeypatch):
    driver.state["devices"] = []
    driver.write()


def old_driver(driver, monkeypatch):
    driver.state.update(driver="470.57.02", cuda=11040)
    driver.write()


def old_gpu(driver, monkeypatch):
    driver.state["devices"][1].update(name="Tesla K80", capability=[3, 7])
    driver.write()


def hidden(driver, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")


def void(driver, monkeypatch):
    monkeypatch.setenv("NVIDIA_VISIBLE_DEVICES", "void")


def no_cuda(driver, monkeypatch):
    monkeypatch.setattr(gpu, "cuda_of_xgboost", lambda: None)


def no_library(driver, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)


UNUSABLE = [
    (no_driver, "NVIDIA's driver shows none (NVML Shared Library Not Found)"),
    (no_devices, "there is none"),
    (hidden, "CUDA_VISIBLE_DEVICES hides the 2 there"),
    (void, "NVIDIA_VISIBLE_DEVICES lets the container see none"),
    (
        old_driver,
        "driver 470.57.02 is too old: it is made for CUDA 11.4, and XGBoost for CUDA 12.9",
    ),
    (old_gpu, "Tesla K80 is too old: XGBoost is built with CUDA 12.9, which makes no code"),
    (no_cuda, "this XGBoost is built without CUDA: install xgboost in place of xgboost-cpu"),
]


@pytest.mark.parametrize(("change", "reason"), UNUSABLE)
def test_no_usable_gpu(driver, lines, monkeypatch, change, reason):
    change(driver, monkeypatch)
    assert gpu.find("auto") is None
    ((level, line),) = lines
    assert level == "info"
    assert line.startswith(f"no GPU: serving on the CPU {reason}")


@pytest.mark.parametrize(
    ("change", "reason"),
    [*UNUSABLE, (no_library, "GPUs cannot be asked without nvidia-ml-py")],
)
def test_no_usable_gpu_where_one_is_wanted(driver, lines, monkeypatch, change, reason):
    change(driver, monkeypatch)
    with pytest.raises(GpuError) as caught:
        gpu.find("cuda")
    assert str(caught.value).startswith(reason)
    assert "MME_DEVICE is cuda" in str(caught.value)
    assert lines == []


def test_a_gpu_that_cannot_be_used_is_a_warning(driver, lines, monkeypatch):
    gpu._DRIVER.touch()
    old_driver(driver, monkeypatch)
    assert gpu.find("auto") is None
    assert [level for level, _ in lines] == ["warning"]


@pytest.mark.parametrize("present", [True, False])
def test_without_the_library_auto_is_the_cpu(driver, lines, monkeypatch, present):
    monkeypatch.setattr(gpu, "find_spec", lambda name: None)
    monkeypatch.setattr(gpu, "cuda_of_xgboost", lambda: pytest.fail("XGBoost was asked"))
    if present:
        gpu._DRIVER.touch()
    assert gpu.find("auto") is None
    assert len(lines) == present
    assert not present or "pip install 'xgboost-mme[gpu]'" in lines[0][1]


def test_cuda_13_has_no_code_for_volta(driver, lines, monkeypatch):
    monkeypatch.setattr(gpu, "cuda_of_xgboost", lambda: (13, 0))
    driver.state.update(cuda=13000)
    driver.state["devices"][0].update(name="Tesla V100", capability=[7, 0])
    driver.write()
    with pytest.raises(GpuError, match="Tesla V100 is too old"):
        gpu.find("cuda")


def test_xgboost_says_itself_what_it_is_built_with():
    import xgboost

    info = xgboost.build_info()
    expected = tuple(info["CUDA_VERSION"]) if info["USE_CUDA"] else None
    assert gpu.cuda_of_xgboost() == expected


def test_an_xgboost_that_cannot_be_imported(monkeypatch, tmp_path):
    (tmp_path / "xgboost.py").write_text("raise ImportError('broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(GpuError, match="XGBoost does not say"):
        gpu.cuda_of_xgboost()


GPUS = [Gpu(uuid(n), f"T{n}", GB, (7, 5)) for n in range(3)]


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("1", [1]),
        ("2,0", [2, 0]),
        (" 2 , 0 ", [2, 0]),
        ("0,-1,2", [0]),
        ("0,3,1", [0]),
        ("0,0", []),
        (uuid(1), [1]),
        ("GPU-2c0", [2]),
        ("GPU-", []),  # begins all of them
        (f"{uuid(1)},0", [1, 0]),
        ("MIG-1c0ffee", []),
        ("²", []),
    ],
)
def test_cuda_visible_devices(variable, expected):
    assert visible_of(GPUS, variable) == [GPUS[n] for n in expected]


def test_visible_devices_are_numbered_anew(driver, lines, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.setenv("NVIDIA_VISIBLE_DEVICES", "3,5")  # numbers outside of the container
    assert [device.uuid for device in gpu.find("cuda").devices] == [uuid(1)]
