"""Every error this package raises on purpose, each with the HTTP status it becomes.

The tree grows from sagemaker-inference's ``BaseInferenceToolkitError``, so code written for that
toolkit that catches, or raises, its error type works here too.

A message names what happened and what to do; it is sent to the client and must not hold a stack
trace, a path outside the model, or a secret.
"""

from __future__ import annotations

from http import HTTPStatus

from sagemaker_inference.errors import BaseInferenceToolkitError


class MmeError(BaseInferenceToolkitError):  # type: ignore[misc]
    """Base of all errors of this package; `status` is the HTTP status of the answer."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR

    trace: str | None = None
    """The traceback behind it, where it was raised in another process: for the log alone."""

    def __init__(self, message: str) -> None:
        super().__init__(int(self.status), message, self.status.phrase)

    def __str__(self) -> str:
        return str(self.message)


class BadRequestError(MmeError):
    """The body cannot be read, or does not fit the model: the client's mistake."""

    status = HTTPStatus.BAD_REQUEST


class NotAcceptableError(MmeError):
    """No content type that the client accepts can be produced."""

    status = HTTPStatus.NOT_ACCEPTABLE


class RequestTooLargeError(MmeError):
    """The request would take more memory than one may; the client should send fewer rows."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class ResponseTooLargeError(MmeError):
    """The answer is larger than the payload limit; the client should send fewer rows."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class UnsupportedContentTypeError(MmeError):
    """The request's content type has no codec."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class ModelError(MmeError):
    """The model, or its own code, failed: on load or while it answered."""


class ModelLoadError(ModelError):
    """The model cannot be loaded: missing, corrupt, of an unknown format, or newer than XGBoost."""


class OutOfMemoryError(MmeError):
    """There is no room; SageMaker answers a 507 by unloading other models."""

    status = HTTPStatus.INSUFFICIENT_STORAGE


# What XGBoost and the CUDA runtime say when an allocation fails. XGBoost reports every C++
# exception as an XGBoostError whose text is the only thing that tells them apart: Thrust's
# "bad_alloc: cudaErrorMemoryAllocation: out of memory", XGBoost's own "Memory allocation error on
# worker 0: ..", the driver's CUDA_ERROR_OUT_OF_MEMORY, RMM's "out_of_memory: .. Maximum pool size
# exceeded"; and of libraries that a model's code may use, CUBLAS_STATUS_ALLOC_FAILED and its like.
_OUT_OF_MEMORY_TEXTS = (
    "bad_alloc",
    "bad allocation",
    "out of memory",
    "out_of_memory",
    "maximum pool size exceeded",
    "status_alloc_failed",
    "memory allocation error",
    "failed to allocate",
    "cudaerrormemoryallocation",
    "cannot allocate memory",
)


def as_text(value: object) -> str:
    """The value as text that UTF-8 can express, whatever it is."""
    try:
        return str(value).encode("utf-8", "backslashreplace").decode()
    except Exception:
        return f"a {as_text(type(value).__name__)} that cannot be shown"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error`, whatever its type, says that an allocation failed."""
    if isinstance(error, MemoryError | OutOfMemoryError):
        return True
    text = as_text(error).lower()
    return any(sign in text for sign in _OUT_OF_MEMORY_TEXTS)
