"""Answers MMS's messages for a loaded model, in a shared host and in an isolated worker alike."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Final

import orjson
from sagemaker_inference.errors import BaseInferenceToolkitError

from mme_handler.answers import Answer, error_status
from mme_handler.codecs import Encoded
from mme_handler.errors import (
    MmeError,
    ModelError,
    ModelLoadError,
    OutOfMemoryError,
    ResponseTooLargeError,
    as_text,
    is_out_of_memory,
)
from mme_handler.hooks import Handler
from mme_handler.logs import get_logger
from mme_handler.metrics import Invocations
from mme_handler.mms import protocol
from mme_handler.mms.protocol import InvokeRequest
from mme_handler.models.archive import Archive
from mme_handler.models.cuda_errors import diagnose
from mme_handler.models.outputs import ATTRIBUTES_HEADER, attribute
from mme_handler.options import Options
from mme_handler.user_code import describe, where

log = get_logger(__name__)

SMALL: Final = 16 << 10  # bytes: about 350 house rows, decoded and predicted within a millisecond
_LONG: Final = 0.02  # seconds: an answer after which a model is not taken to be quick
_WARY_FOR: Final = 100  # requests
_LONGEST_REASON: Final = 8192  # characters of an error's message
_TARGET_MODEL: Final = "x-amzn-sagemaker-target-model"
_TRACE: Final = "trace"
"""Custom attribute of a request that asks to be told its number, ``trace=true``."""
_NUMBER: Final = "model-request"
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}


@dataclass(slots=True, eq=False)
class ServedModel:
    """A loaded model: its handler, and what it has answered."""

    name: str
    handler: Handler
    options: Options
    invocations: Invocations = field(default_factory=Invocations)
    lost: bool = False
    """Whether this process can do no more with its GPU and must be replaced."""
    _asked: int = 0  # requests since the load
    _wary: int = 0  # requests to go before the next small one is taken for quick

    @classmethod
    def load(cls, name: str, directory: str, options: Options) -> ServedModel:
        """Load the model whose archive is unpacked at `directory`.

        Raises:
            MmeError: it cannot be loaded; `OutOfMemoryError` when there is no room for it.
        """
        return cls(name, _load(name, options.inspect(Path(directory)), options), options)

    def reply(self, requests: list[InvokeRequest]) -> tuple[bytes, int]:
        """The reply to MMS's message, and the gravest status in it."""
        if len(requests) == 1:
            prediction = self._answer(requests[0])
            return protocol.invoke_reply(prediction), prediction[1]
        predictions = [self._answer(request) for request in requests]
        return protocol.batch_reply(predictions), max(status for _, status, *_ in predictions)

    def is_quick(self, requests: list[InvokeRequest]) -> bool:
        """Whether these are, as far as can be told before, answered within a few milliseconds."""
        if self._wary:
            self._wary -= 1
            return False
        return all(self.handler.is_quick(r.content_type, r.headers) for r in requests)

    @property
    def timeout(self) -> float:
        """Seconds that an invocation may take."""
        return self.handler.settings.timeout or self.options.model_timeout

    def _answer(self, request: InvokeRequest) -> protocol.Prediction:
        started = time.perf_counter()
        self._asked += 1
        headers = request.headers
        accept = headers.get("accept")
        try:
            encoded = self.handler.answer(
                request.body, request.content_type, accept, headers, request.request_id
            )
            self._check_size(encoded)
            status, phrase, more = 200, "OK", {}
            if type(encoded) is Answer:  # of the model's own code
                status, phrase, more = encoded.status, encoded.phrase, encoded.headers
        except Exception as error:
            status, phrase, encoded = self._failure(request, error)
            more = {}
        if attributes := headers.get(ATTRIBUTES_HEADER):
            more = self._traced(attributes, more)
        seconds = time.perf_counter() - started
        if seconds > _LONG and len(request.body) < SMALL:
            self._wary = _WARY_FOR
        self.invocations.record(status, seconds, len(request.body), len(encoded.body))
        if status == 200 and self.options.log_requests:
            log.info("invoked", **self._identify(request), milliseconds=round(seconds * 1e3, 3))
        return request.request_id, status, phrase, encoded.content_type, encoded.body, more

    def _traced(self, attributes: str, more: dict[str, str]) -> dict[str, str]:
        """The headers of an answer, and the request's number where it asks for that."""
        if attribute(attributes, _TRACE) != "true":
            return more
        if any(name.lower() == ATTRIBUTES_HEADER for name in more):  # the model's code has its own
            return more
        return {**more, ATTRIBUTES_HEADER: f"{_NUMBER}={self._asked}"}

    def _check_size(self, encoded: Encoded | Answer) -> None:
        if len(encoded.body) > self.options.max_payload:
            raise ResponseTooLargeError(
                f"the answer has {len(encoded.body):,} bytes and at most "
                f"{self.options.max_payload:,} can be sent: send fewer rows"
            )

    def _failure(self, request: InvokeRequest, error: Exception) -> tuple[int, str, Encoded]:
        """The answer that tells of an error; it never raises, whatever the model's code raised."""
        try:
            known = _as_known(error)
            status, kind = error_status(known.status_code), as_text(type(known).__name__)
            reason = as_text(known.message)[:_LONGEST_REASON]
            self._log_failure(request, error, status, reason)
            if report_cuda_failure(error, self.options, **self._identify(request)):
                self.lost = True
        except Exception:
            status, kind = 500, ModelError.__name__
            reason = f"the model failed with what cannot be shown: {as_text(type(error).__name__)}"
            with contextlib.suppress(Exception):
                fields = {**self._identify(request), "status": status, "reason": reason}
                log.error("invocation failed", **fields)
        body = {"code": status, "type": kind, "message": reason}
        encoded = Encoded(orjson.dumps(body) + b"\n", "application/json")
        return status, _PHRASES.get(status, "Error"), encoded

    def _log_failure(
        self, request: InvokeRequest, error: Exception, status: int, reason: str
    ) -> None:
        fields = {**self._identify(request), "status": status, "reason": reason}
        if place := where(error, self.handler.directory):
            fields["place"] = place
        if status >= 500:
            log.error("invocation failed", **fields, exc_info=error)
        else:
            log.warning("invocation refused", **fields)

    def _identify(self, request: InvokeRequest) -> dict[str, str]:
        fields = {"model": self.name, "request_id": request.request_id}
        if target := request.headers.get(_TARGET_MODEL):
            fields["target_model"] = target
        return fields


def report_cuda_failure(error: BaseException, options: Options, **fields: str) -> bool:
    """Log what an error of CUDA's means; return whether this process can do no more with CUDA."""
    failure = diagnose(error) if options.device == "cuda" else None
    if failure is None:
        return False
    log.error(f"CUDA failed: {failure.meaning}", context_lost=failure.lost, **fields)
    return failure.lost


def _load(name: str, archive: Archive, options: Options) -> Handler:
    try:
        return Handler(name, archive, options)
    except BaseInferenceToolkitError as error:
        # The model's own code may have raised it, with whatever in it.
        error.status_code, error.message = error_status(error.status_code), as_text(error.message)
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemoryError("the model does not fit into the memory that is left") from error
        raise ModelLoadError(f"the model cannot be loaded: {as_text(error)}") from error


def _as_known(error: Exception) -> BaseInferenceToolkitError:
    """The error to answer with: a toolkit error as it is, anything else by what it means."""
    if isinstance(error, MmeError | BaseInferenceToolkitError):
        return error
    if is_out_of_memory(error):
        return OutOfMemoryError("the request does not fit into the memory that is left")
    return ModelError(f"the model failed: {describe(error)}")
