"""What the texts of CUDA errors mean, as XGBoost and others write them."""

from __future__ import annotations

import pytest
import xgboost as xgb

from mme_handler.errors import BadRequestError, ModelError, is_out_of_memory
from mme_handler.models.cuda_errors import diagnose

STACK = "\nStack trace:\n  [bt] (0) libxgboost.so(+0x1) [0x7f]"


def raised(text: str) -> xgb.core.XGBoostError:
    return xgb.core.XGBoostError(f"[12:00:00] /xgboost/src/common/common.cu:21: {text}{STACK}")


@pytest.mark.parametrize(
    "text",
    [
        "Memory allocation error on worker 0: Caching allocator\n- Free memory: 12.3MB",
        "Memory allocation error on worker 0: std::bad_alloc: cudaErrorMemoryAllocation: out of me",
        "src/x.cu: 12: cudaErrorMemoryAllocation: out of memory",
        "parallel_for failed: cudaErrorMemoryAllocation: out of memory",
        "std::bad_alloc: out_of_memory: RMM failure at: pool.hpp:1: Maximum pool size exceeded",
        "CUDA driver error:CUDA_ERROR_OUT_OF_MEMORY: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)",
        "CUDA out of memory. Tried to allocate 20.00 MiB",
    ],
)
def test_memory_that_is_short(text):
    assert is_out_of_memory(raised(text))
    assert diagnose(raised(text)) is None


@pytest.mark.parametrize(
    ("text", "lost", "meaning"),
    [
        (
            "a.cu: 1: cudaErrorIllegalAddress: an illegal memory access was encountered",
            True,
            "memo",
        ),
        ("cudaErrorMisalignedAddress: misaligned address", True, "memory that is not its own"),
        ("cudaErrorLaunchFailure: unspecified launch failure", True, "code on the GPU has failed"),
        ("cudaErrorECCUncorrectable: uncorrectable ECC error encountered", True, "faulty"),
        ("cudaErrorWhateverComes: a new one", True, "code on the GPU has failed"),
        ("CUDA error: device-side assert triggered", True, "code on the GPU has failed"),
        (
            "cudaErrorNoKernelImageForDevice: no kernel image is available for execution on the "
            "device",
            False,
            "no code for this GPU",
        ),
        (
            "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime "
            "version",
            False,
            "InferenceAmiVersion",
        ),
        ("cudaErrorNoDevice: no CUDA-capable device is detected", False, "sees no such GPU"),
        ("cudaErrorInvalidConfiguration: invalid configuration argument", False, "cannot do"),
    ],
)
def test_other_errors(text, lost, meaning):
    failure = diagnose(raised(text))
    assert failure.lost is lost
    assert meaning in failure.meaning
    assert not is_out_of_memory(raised(text))


def test_what_it_was_raised_from_counts():
    error = ModelError("XGBoost cannot predict")
    error.__cause__ = raised("cudaErrorIllegalAddress: an illegal memory access")
    assert diagnose(error).lost
    error.__cause__ = RuntimeError("CUDA error: an illegal memory access was encountered")
    assert diagnose(error).lost


@pytest.mark.parametrize(
    "error",
    [
        ModelError("XGBoost cannot predict: feature_names mismatch"),
        raised("Check failed: base_score > 0.0f"),
        BadRequestError("the row 'cudaErrorIllegalAddress' has 1 feature"),
        ValueError("could not convert string to float: 'CUDA error'"),
    ],
)
def test_no_error_of_cuda(error):
    """A client's own words must not end a process that serves others."""
    assert diagnose(error) is None


def test_an_error_that_is_its_own_cause():
    error = ValueError("x")
    error.__cause__ = error
    assert diagnose(error) is None
