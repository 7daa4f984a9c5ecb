"""InvokeEndpoint, and what its errors mean.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from shlex import quote
from typing import Any, Final

import orjson
from botocore.exceptions import BotoCoreError

from mme_handler.models.outputs import attribute
from mme_hosting.aws import AwsError
from mme_hosting.context import Context
from mme_hosting.errors import HostingError, RefusedError
from mme_hosting.invoke.request import Request
from mme_hosting.logs import clean

_NUMBER: Final = "model-request"
"""What a container of ours answers to ``trace=true``: the number of the request since the load."""
_NOT_READY: Final = "ModelNotReadyException"
_READY_SECONDS: Final = 360.0
"""That SageMaker goes on to download and load a model after a client was told to wait."""
_AGAIN_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, and how."""

    body: bytes
    content_type: str
    variant: str
    """The production variant that has answered."""
    request_id: str
    latency_ms: float
    """As the client has waited, network included; of the attempt that was answered."""
    cache_hit: bool | None
    """Whether the model was loaded already; None if the container does not tell."""
    attributes: str
    """Custom attributes of the answer, empty if there are none."""


def invoke(context: Context, request: Request, body: bytes, waits: Callable[[str], None]) -> Answer:
    """Ask the model; wait while it is downloaded and loaded, as long as SageMaker goes on with it.

    Args:
        context: the endpoint.
        request: what is asked.
        body: its body.
        waits: told once, in words, that the model is not ready yet.

    Raises:
        RefusedError: the endpoint or the model is not there, or the caller may not ask it.
        HostingError: the model has failed, or AWS has; what to do.
    """
    context.aws.client("sagemaker-runtime")  # no part of the latency
    members = _members(context, request, body)
    end = time.monotonic() + _READY_SECONDS
    told = False
    while True:
        started = time.monotonic()
        try:
            answer = context.aws.call(
                "sagemaker-runtime", "InvokeEndpoint", f"the model {request.target}", **members
            )
            return _answer(request, answer, started)
        except AwsError as error:
            if error.code != _NOT_READY:
                raise _explained(context, request, error) from None
            if time.monotonic() + _AGAIN_SECONDS > end:
                raise HostingError(
                    f"the model {request.target} is not ready after {_READY_SECONDS:.0f} s, and "
                    "SageMaker waits no longer for a load: see mme logs --model "
                    f"{quote(request.target)}"
                ) from None
        if not told:
            waits(
                f"the model {request.target} is still being downloaded and loaded: "
                f"waiting up to {_READY_SECONDS / 60:.0f} minutes"
            )
            told = True
        time.sleep(_AGAIN_SECONDS)


def _members(context: Context, request: Request, body: bytes) -> dict[str, Any]:
    members = {
        "EndpointName": context.name,
        "TargetModel": request.target,
        "ContentType": request.content_type,
        "CustomAttributes": request.traced,
        "Body": body,
    }
    return {**members, "Accept": request.accept} if request.accept else members


def _answer(request: Request, answer: Mapping[str, Any], started: float) -> Answer:
    try:
        body = answer["Body"].read()
    except BotoCoreError as error:
        raise HostingError(
            f"the answer of the model {request.target} breaks off ({error}): ask again"
        ) from None
    latency = (time.monotonic() - started) * 1e3
    attributes = answer.get("CustomAttributes", "")
    number = attribute(attributes, _NUMBER)
    return Answer(
        body=body,
        content_type=answer.get("ContentType", ""),
        variant=answer.get("InvokedProductionVariant", ""),
        request_id=answer["ResponseMetadata"].get("RequestId", ""),
        latency_ms=latency,
        cache_hit=number != "1" if number and number.isdigit() else None,
        attributes=attributes,
    )


# -- Errors ---------------------------------------------------------------------------------------


def _explained(context: Context, request: Request, error: AwsError) -> HostingError:
    if error.code == "ModelError":
        return _model_error(request, error)
    if error.code == "413":
        return RefusedError(
            f"the body is larger than the endpoint takes, which is 6 MB at older ones: {error.said}"
        )
    if error.denied:
        return RefusedError(str(error))
    if error.code != "ValidationError":
        return error
    if "Failed to download model data" in error.said:
        return RefusedError(
            f"there is no archive {context.models.below(request.target)}, or the execution role "
            "may not read it: mme models ls shows what there is, and mme models add adds one"
        )
    if "ndpoint" in error.said and "not found" in error.said:
        return RefusedError(_no_endpoint(context))
    return RefusedError(f"the endpoint {context.name} refuses the request: {error.said}")


def _no_endpoint(context: Context) -> str:
    found, what = None, f"the endpoint {context.name}"
    with contextlib.suppress(AwsError):  # who may invoke need not be allowed to describe
        found = context.aws.find("sagemaker", "DescribeEndpoint", what, EndpointName=context.name)
    if found is None:
        return f"there is no endpoint {context.name} in {context.aws.region}: mme deploy makes it"
    why = f" ({found['FailureReason']})" if found.get("FailureReason") else ""
    return (
        f"the endpoint {context.name} is {found['EndpointStatus']}{why}, and serves only while it "
        "is InService: mme endpoints shows how it goes"
    )


def _model_error(request: Request, error: AwsError) -> HostingError:
    """What the container has answered, or that it has not answered at all (status 0)."""
    status = error.members.get("OriginalStatusCode", 0)
    said = clean(_container_said(str(error.members.get("OriginalMessage") or error.said)))
    how = f"answers {status}" if status else "does not answer"
    return HostingError(
        f"the model {request.target} {how}: {said}. See mme logs --errors --model "
        f"{quote(request.target)}"
    )


def _container_said(text: str) -> str:
    """The message of an error in JSON, as our container and multi-model-server write it."""
    try:
        content = orjson.loads(text)
    except ValueError:  # also of what is nested too deep, with this parser
        content = None
    if isinstance(content, dict) and isinstance(content.get("message"), str):
        kind = content.get("type")
        return f"{content['message']} ({kind})" if kind else content["message"]
    return text.strip() or "nothing was said"
