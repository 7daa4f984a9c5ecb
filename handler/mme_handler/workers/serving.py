"""Answers MMS's messages for a loaded model, in a shared host and in an isolated worker alike."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Final

import orjson
from sagemaker_inference.errors import BaseInferenceToolkitError

from mme_handler.codecs import Encoded
from mme_handler.errors import (
    MmeError,
    ModelError,
    ModelLoadError,
    OutOfMemoryError,
    ResponseTooLargeError,
    is_out_of_memory,
)
from mme_handler.hooks import Handler
from mme_handler.logs import get_logger
from mme_handler.metrics import Invocations
from mme_handler.mms import protocol
from mme_handler.mms.protocol import InvokeRequest
from mme_handler.mms_service import Answer
from mme_handler.models.archive import Archive
from mme_handler.options import Options
from mme_handler.user_code import where

log = get_logger(__name__)

_TARGET_MODEL: Final = "x-amzn-sagemaker-target-model"
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}


@dataclass(slots=True, eq=False)
class ServedModel:
    """A loaded model: its handler, and what it has answered."""

    name: str
    handler: Handler
    options: Options
    invocations: Invocations = field(default_factory=Invocations)

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

    @property
    def timeout(self) -> float:
        """Seconds that an invocation may take."""
        return self.handler.settings.timeout or self.options.model_timeout

    def _answer(self, request: InvokeRequest) -> protocol.Prediction:
        started = time.perf_counter()
        headers = request.headers
        accept = headers.get("accept")
        try:
            encoded = self.handler.answer(
                request.body, request.content_type, accept, headers, request.request_id
            )
            self._check_size(encoded)
            status, phrase, more = 200, "OK", {}
            if type(encoded) is Answer:  # of a service of the model's own
                status, phrase, more = encoded.status, encoded.phrase, encoded.headers
        except Exception as error:
            status, phrase, encoded = self._failure(request, error)
            more = {}
        seconds = time.perf_counter() - started
        self.invocations.record(status, seconds, len(request.body), len(encoded.body))
        if status == 200 and self.options.log_requests:
            log.info("invoked", **self._identify(request), milliseconds=round(seconds * 1e3, 3))
        return request.request_id, status, phrase, encoded.content_type, encoded.body, more

    def _check_size(self, encoded: Encoded | Answer) -> None:
        if len(encoded.body) > self.options.max_payload:
            raise ResponseTooLargeError(
                f"the answer has {len(encoded.body):,} bytes and at most "
                f"{self.options.max_payload:,} can be sent: send fewer rows"
            )

    def _failure(self, request: InvokeRequest, error: Exception) -> tuple[int, str, Encoded]:
        known = _as_known(error)
        status, reason = int(known.status_code), str(known.message)
        fields = {**self._identify(request), "status": status, "reason": reason}
        if place := where(error, self.handler.directory):
            fields["place"] = place
        if status >= 500:
            log.error("invocation failed", **fields, exc_info=error)
        else:
            log.warning("invocation refused", **fields)
        body = {"code": status, "type": type(known).__name__, "message": reason}
        encoded = Encoded(orjson.dumps(body) + b"\n", "application/json")
        return status, _PHRASES.get(status, "Error"), encoded

    def _identify(self, request: InvokeRequest) -> dict[str, str]:
        fields = {"model": self.name, "request_id": request.request_id}
        if target := request.headers.get(_TARGET_MODEL):
            fields["target_model"] = target
        return fields


def _load(name: str, archive: Archive, options: Options) -> Handler:
    try:
        return Handler(name, archive, options)
    except BaseInferenceToolkitError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemoryError("the model does not fit into the memory that is left") from error
        raise ModelLoadError(f"the model cannot be loaded: {error}") from error


def _as_known(error: Exception) -> BaseInferenceToolkitError:
    """The error to answer with: a toolkit error as it is, anything else by what it means."""
    if isinstance(error, MmeError | BaseInferenceToolkitError):
        return error
    if is_out_of_memory(error):
        return OutOfMemoryError("the request does not fit into the memory that is left")
    return ModelError(f"the model failed: {type(error).__name__}: {error}")
