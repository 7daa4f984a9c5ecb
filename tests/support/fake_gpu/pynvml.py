"""A stand-in for NVML: the GPUs that the JSON file ``FAKE_GPUS`` names, as it is at each call."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace


class NVMLError(Exception):
    pass


def _state() -> dict:
    try:
        return json.loads(Path(os.environ["FAKE_GPUS"]).read_text())
    except (KeyError, OSError):
        raise NVMLError("NVML Shared Library Not Found") from None


def _device(number: int) -> dict:
    device = _state()["devices"][number]
    if device.get("is_lost"):
        raise NVMLError("GPU is lost")
    return device


def nvmlInit() -> None:  # noqa: N802
    _state()


def nvmlDeviceGetCount() -> int:  # noqa: N802
    return len(_state()["devices"])


def nvmlDeviceGetHandleByIndex(number: int) -> int:  # noqa: N802
    return number


def nvmlSystemGetDriverVersion() -> str:  # noqa: N802
    return _state()["driver"]


def nvmlSystemGetCudaDriverVersion_v2() -> int:  # noqa: N802
    return _state()["cuda"]


def nvmlDeviceGetUUID(handle: int) -> str:  # noqa: N802
    return _device(handle)["uuid"]


def nvmlDeviceGetName(handle: int) -> bytes:  # noqa: N802
    return _device(handle)["name"].encode()  # old versions answer in bytes


def nvmlDeviceGetMemoryInfo(handle: int) -> SimpleNamespace:  # noqa: N802
    device = _device(handle)
    used, total = device["used"], device["total"]
    return SimpleNamespace(used=used, total=total, free=total - used)


def nvmlDeviceGetCudaComputeCapability(handle: int) -> list[int]:  # noqa: N802
    return _device(handle)["capability"]
