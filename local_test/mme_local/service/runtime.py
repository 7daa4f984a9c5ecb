"""AWS's REST protocol with JSON errors, which SageMaker Runtime speaks: InvokeEndpoint.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson

from mme_local.control.records import Invocation, InvocationAnswer
from mme_local.errors import ApiError
from mme_local.service.model import RUNTIME, error_shape, operation
from mme_local.service.reply import REQUEST_ID, Reply, request_id
from mme_local.service.validate import checked

LARGEST_BODY: Final = 25 << 20
"""Bytes of an invocation's body that SageMaker takes (hosting FAQ: 25 MB)."""

_KEPT_HEADERS: Final = ("content-type", "accept")
_OWN_PREFIX: Final = "x-amzn-sagemaker-"
_ERROR_TYPE: Final = "x-amzn-errortype"
_EXTRA_MEMBER: Final = "ErrorCode"  # AWS sends it with some errors, though no shape has it
_SAME_CODES: Final = {"ValidationException": "ValidationError"}  # its name in this service


def invocation(
    endpoint: str, headers: Mapping[str, str], body: bytes, caller_access_key: str | None
) -> Invocation:
    """An InvokeEndpoint request.

    Args:
        endpoint: its name, from the path.
        headers: with names in lower case.
        body: passed on as it is.
        caller_access_key: what the request was signed with.

    Raises:
        ApiError: the name or a header is not what its shape asks for.
    """
    shape = operation(RUNTIME, "InvokeEndpoint").input_shape
    names = {name: _header(member) for name, member in shape.members.items()}
    request = {name: headers[header] for name, header in names.items() if header in headers}
    members = checked(shape, {**request, "EndpointName": endpoint, "Body": body})
    return Invocation(
        endpoint=endpoint,
        body=body,
        headers={
            name: value
            for name, value in headers.items()
            if name in _KEPT_HEADERS or name.startswith(_OWN_PREFIX)
        },
        target_model=members.get("TargetModel"),
        target_variant=members.get("TargetVariant"),
        caller_access_key=caller_access_key,
    )


def _header(member: Any) -> str:
    """The header that carries a member, in lower case; empty for one that none does."""
    if member.serialization.get("location") != "header":
        return ""
    return str(member.serialization["name"]).lower()


def reply(answer: InvocationAnswer) -> Reply:
    """What the container answered, with the headers that InvokeEndpoint returns."""
    shape = operation(RUNTIME, "InvokeEndpoint").output_shape
    known = {_header(member) for member in shape.members.values()}
    headers = {name: value for name, value in answer.headers.items() if name in known}
    return Reply(
        HTTPStatus.OK,
        {
            **headers,
            "content-type": answer.content_type,
            "x-amzn-invoked-production-variant": answer.variant,
            REQUEST_ID: request_id(),
        },
        answer.body,
    )


def error_reply(error: ApiError) -> Reply:
    """An error as botocore reads it, with the status and the members of its shape."""
    code = _SAME_CODES.get(error.code, error.code)
    shape = error_shape(RUNTIME, code)
    members = {"Message", _EXTRA_MEMBER} | (set() if shape is None else set(shape.members))
    status = error.status
    if shape is not None:
        status = shape.metadata.get("error", {}).get("httpStatusCode", status)
    body = {name: value for name, value in error.fields.items() if name in members}
    headers = {"content-type": "application/json", _ERROR_TYPE: code, REQUEST_ID: request_id()}
    return Reply(status, headers, orjson.dumps({**body, "Message": error.message}))


def too_large(limit: int = LARGEST_BODY) -> ApiError:
    """A body above the limit: AWS answers 413 without an error type, so that is the code too."""
    return ApiError(
        "413", f"HTTP content length exceeded {limit} bytes.", HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    )
