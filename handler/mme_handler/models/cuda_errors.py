"""What an error of CUDA's means, and whether the process that met it can go on.

XGBoost reports them as text, as in ``cudaErrorIllegalAddress: an illegal memory access was
encountered``. After most of them the process's CUDA context is lost, and every later call fails
with the same error (https://docs.nvidia.com/cuda/cuda-runtime-api/, "cudaError_t": "the process
must be terminated and relaunched").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import xgboost as xgb

from mme_handler.errors import as_text, is_out_of_memory


class CudaFailure(NamedTuple):
    """What a CUDA error means."""

    meaning: str
    lost: bool
    """Whether no more can be done with CUDA in this process."""


_CUDA: Final = re.compile(r"cudaerror|cuda error|cuda_error_|cuda driver|cuda runtime")
_MEANINGS: Final = (
    (
        ("no kernel image", "nokernelimagefordevice"),
        CudaFailure("XGBoost has no code for this GPU: another instance type is needed", False),
    ),
    (
        ("unsupportedptxversion", "unsupported toolchain"),
        CudaFailure("the driver is too old to compile XGBoost's code for this GPU", False),
    ),
    (
        ("insufficientdriver", "driver version is insufficient", "callrequiresnewerdriver"),
        CudaFailure(
            "the driver is older than XGBoost's CUDA needs: choose a newer InferenceAmiVersion",
            False,
        ),
    ),
    (
        ("nodevice", "no cuda-capable device", "invaliddevice", "invalid device ordinal"),
        CudaFailure("this process sees no such GPU", False),
    ),
    (
        ("invalidvalue", "invalidconfiguration", "launchoutofresources", "notsupported"),
        CudaFailure("XGBoost asked this GPU for what it cannot do", False),
    ),
    (
        ("illegaladdress", "illegal memory access", "misaligned", "invalidaddressspace"),
        CudaFailure("code on the GPU has used memory that is not its own", True),
    ),
    (
        ("eccuncorrectable", "uncorrectable", "hardwarestackerror", "nvlink"),
        CudaFailure("the GPU itself is faulty: if it goes on, replace the instance", True),
    ),
)
_OTHER: Final = CudaFailure("code on the GPU has failed", True)


def diagnose(error: BaseException) -> CudaFailure | None:
    """What `error`, or what it was raised from, means as CUDA's; None if it is none of CUDA's.

    Memory that is short is none: that is `errors.is_out_of_memory`. Only what XGBoost or another
    library raises is looked at, never a text that may be a client's.
    """
    for cause in _chain(error):
        if not isinstance(cause, xgb.core.XGBoostError | RuntimeError):
            continue
        text = as_text(cause).lower()
        if _CUDA.search(text) and not is_out_of_memory(cause):
            return next(
                (failure for signs, failure in _MEANINGS if any(sign in text for sign in signs)),
                _OTHER,
            )
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__
