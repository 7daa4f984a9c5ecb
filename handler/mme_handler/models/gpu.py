"""The GPUs that this container may use: the one module that talks to NVIDIA's driver, by NVML.

``nvidia-ml-py`` (the extra ``gpu``) is imported when GPUs are looked for, and not before. NVML
makes no CUDA context; neither the server nor the zygote ever initialises CUDA.

https://docs.nvidia.com/deploy/nvml-api/
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

import orjson

from mme_handler.logs import get_logger

log = get_logger(__name__)

_DRIVER: Final = Path("/dev/nvidiactl")
"""Is there where NVIDIA's driver has a GPU for this container."""

_NONE: Final = ("void", "none")  # what NVIDIA_VISIBLE_DEVICES says to the container runtime
_OLDEST: Final = {12: (5, 0), 13: (7, 5)}
"""The lowest compute capability that a CUDA of this number makes code for."""

_PROBE: Final = "import json, xgboost; print(json.dumps(xgboost.build_info()))"
_PROBE_WITHIN: Final = 60.0  # seconds


class GpuError(RuntimeError):
    """No GPU can be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU, as the driver describes it."""

    uuid: str
    """What CUDA_VISIBLE_DEVICES calls it, whatever its number."""
    name: str
    total: int
    """Bytes of memory."""
    capability: tuple[int, int]
    """Compute capability: which machine code it runs."""


@dataclass(frozen=True)
class Gpus:
    """The GPUs to serve on, numbered as MMS numbers them, and their driver."""

    devices: tuple[Gpu, ...]
    driver: str
    cuda: tuple[int, int]
    """The newest CUDA that the driver was made for."""
    measure: Callable[[Gpu], int | None]
    """Bytes in use on a GPU now, by whomever; None when the driver does not answer."""

    def __str__(self) -> str:
        count = len(self.devices)
        names = ", ".join(f"{gpu.name} ({_room(gpu, self.measure(gpu))})" for gpu in self.devices)
        version = ".".join(map(str, self.cuda))
        return f"{count} GPU{'s'[: count > 1]}: {names}; driver {self.driver}, CUDA {version}"


def _room(gpu: Gpu, used: int | None) -> str:
    free = "?" if used is None else f"{(gpu.total - used) / 1e9:.1f}"
    return f"{free} of {gpu.total / 1e9:.1f} GB free"


def find(wanted: Literal["auto", "cpu", "cuda"]) -> Gpus | None:
    """The GPUs to serve on; None to serve on the CPU. Logs one line where a GPU was to be thought.

    Raises:
        GpuError: ``cuda`` is wanted, and no GPU can be used.
    """
    if wanted == "cpu":
        return None
    if wanted == "auto" and not find_spec("pynvml"):
        if _DRIVER.exists():
            log.warning(f"{_NO_LIBRARY}: serving on the CPU")
        return None
    try:
        gpus = _usable(wanted)
    except GpuError as error:
        if wanted == "cuda":
            raise GpuError(f"{error} (MME_DEVICE is cuda; auto or cpu serves on the CPU)") from None
        level = log.warning if _DRIVER.exists() else log.info
        level("no GPU: serving on the CPU", reason=str(error))
        return None
    log.info(str(gpus))
    return gpus


_NO_LIBRARY: Final = "GPUs cannot be asked without nvidia-ml-py (pip install 'xgboost-mme[gpu]')"
_NO_CUDA: Final = "this XGBoost is built without CUDA: install xgboost in place of xgboost-cpu"


def _usable(wanted: Literal["auto", "cuda"]) -> Gpus:
    """The visible GPUs, all of which this XGBoost has code for."""
    # Asking takes a second: where nobody counts on a GPU, only if there is one.
    built = cuda_of_xgboost() if wanted == "cuda" else (0, 0)
    gpus = _discover() if built else None
    if wanted == "auto":
        built = cuda_of_xgboost()
    if not gpus or not built:
        raise GpuError(_NO_CUDA)
    needed, has = (".".join(map(str, version)) for version in (built, gpus.cuda))
    if gpus.cuda[0] < built[0]:
        raise GpuError(
            f"driver {gpus.driver} is too old: it is made for CUDA {has}, and XGBoost for CUDA "
            f"{needed}, which takes a driver for CUDA {built[0]}.0 or later; choose a newer "
            "InferenceAmiVersion, or install a newer driver"
        )
    oldest = _OLDEST.get(built[0], (0, 0))
    for gpu in gpus.devices:
        if gpu.capability < oldest:
            raise GpuError(
                f"{gpu.name} is too old: XGBoost is built with CUDA {needed}, which makes no code "
                f"for compute capability {'.'.join(map(str, gpu.capability))}"
            )
    return gpus


def _discover() -> Gpus:
    try:
        import pynvml
    except ImportError:
        raise GpuError(_NO_LIBRARY) from None
    if os.environ.get("NVIDIA_VISIBLE_DEVICES", "").strip().lower() in _NONE:
        raise GpuError("NVIDIA_VISIBLE_DEVICES lets the container see none")
    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(n) for n in range(pynvml.nvmlDeviceGetCount())]
        found = {gpu.uuid: (gpu, handle) for handle in handles for gpu in [_describe(handle)]}
        driver = _text(pynvml.nvmlSystemGetDriverVersion())
        cuda = int(pynvml.nvmlSystemGetCudaDriverVersion_v2())
    except pynvml.NVMLError as error:
        raise GpuError(f"NVIDIA's driver shows none ({error})") from None
    visible = visible_of([gpu for gpu, _ in found.values()], os.environ.get("CUDA_VISIBLE_DEVICES"))

    def measure(gpu: Gpu) -> int | None:
        try:
            return int(pynvml.nvmlDeviceGetMemoryInfo(found[gpu.uuid][1]).used)
        except pynvml.NVMLError:
            return None

    if not visible:
        hidden = f"CUDA_VISIBLE_DEVICES hides the {len(found)} there" if found else "there is none"
        raise GpuError(hidden)
    return Gpus(tuple(visible), driver, (cuda // 1000, cuda % 1000 // 10), measure)


def _describe(handle: Any) -> Gpu:
    import pynvml

    return Gpu(
        _text(pynvml.nvmlDeviceGetUUID(handle)),
        _text(pynvml.nvmlDeviceGetName(handle)),
        int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
        tuple(map(int, pynvml.nvmlDeviceGetCudaComputeCapability(handle))),  # type: ignore[arg-type]
    )


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def visible_of(gpus: Sequence[Gpu], variable: str | None) -> list[Gpu]:
    """Those of `gpus` that CUDA_VISIBLE_DEVICES names, in its order; all where it is not set.

    As CUDA reads it: numbers, or beginnings of UUIDs; the first that names none ends the list, and
    one that is named twice empties it. The numbers are the driver's own (``nvidia-smi``), which are
    CUDA's unless the GPUs differ.
    """
    if variable is None:
        return list(gpus)
    chosen: list[Gpu] = []
    for word in variable.split(","):
        gpu = _named(gpus, word.strip())
        if gpu is None:
            break
        if gpu in chosen:
            return []
        chosen.append(gpu)
    return chosen


def _named(gpus: Sequence[Gpu], word: str) -> Gpu | None:
    if word.isascii() and word.isdigit():
        return gpus[int(word)] if int(word) < len(gpus) else None
    matching = [gpu for gpu in gpus if word.startswith("GPU-") and gpu.uuid.startswith(word)]
    return matching[0] if len(matching) == 1 else None


def cuda_of_xgboost() -> tuple[int, int] | None:
    """The CUDA that XGBoost is built with; None if with none.

    Asked in a process of its own: the server keeps XGBoost, and all it takes, out of its own.

    Raises:
        GpuError: XGBoost cannot be imported.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE], capture_output=True, timeout=_PROBE_WITHIN, check=True
        )
        built = orjson.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        raise GpuError(f"XGBoost does not say whether it has CUDA: {error}") from None
    if not built.get("USE_CUDA"):
        return None
    major, minor = built.get("CUDA_VERSION", (0, 0))
    return int(major), int(minor)
