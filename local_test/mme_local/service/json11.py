"""AWS's JSON 1.1 protocol, which SageMaker speaks: ``X-Amz-Target: SageMaker.CreateModel``.

https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html
"""

from __future__ import annotations

from collections.abc import Collection
from http import HTTPStatus
from typing import Any, Final

import orjson
from botocore.model import OperationNotFoundError

from mme_local.errors import ApiError
from mme_local.service.model import SAGEMAKER, error_shape, operation
from mme_local.service.reply import REQUEST_ID, Reply, request_id
from mme_local.service.shape import shaped
from mme_local.service.validate import Advice, checked, no_advice

_PREFIX: Final = "SageMaker."
_CONTENT_TYPE: Final = "application/x-amz-json-1.1"


def operation_name(target: str, built: Collection[str]) -> str:
    """The operation that a request's ``X-Amz-Target`` names.

    Raises:
        ApiError: it is not SageMaker's, or not one of those that are `built`.
    """
    name = target.removeprefix(_PREFIX)
    if name in built and target.startswith(_PREFIX):
        return name
    available = ", ".join(sorted(built))
    try:
        operation(SAGEMAKER, name if target.startswith(_PREFIX) else "")
    except OperationNotFoundError:
        raise ApiError(
            "UnknownOperationException",
            f"SageMaker has no operation {target!r}; the local SageMaker has {available}. "
            "Other services of AWS are at another address: see mme local status.",
            HTTPStatus.NOT_FOUND,
        ) from None
    raise ApiError(
        "NotImplemented",
        f"The local SageMaker does not have {name}. It has {available}.",
        HTTPStatus.NOT_IMPLEMENTED,
    )


def read(name: str, body: bytes, advice: Advice = no_advice) -> dict[str, Any]:
    """The request of an operation, checked against its shape.

    Raises:
        ApiError: it is not JSON, or not what the shape asks for.
    """
    try:
        value = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError as error:
        raise ApiError("SerializationException", f"The body is not JSON: {error}.") from None
    request: dict[str, Any] = checked(operation(SAGEMAKER, name).input_shape, value, advice)
    return request


def reply(name: str, answer: Any) -> Reply:
    """The answer of an operation, by its shape.

    Raises:
        ShapeError: the answer is not what AWS would give.
    """
    shape = operation(SAGEMAKER, name).output_shape
    body = b"" if shape is None else orjson.dumps(shaped(shape, answer))
    return Reply(HTTPStatus.OK, _headers(), body)


def error_reply(error: ApiError) -> Reply:
    """An error as botocore reads it: ``__type`` is the code."""
    shape = error_shape(SAGEMAKER, error.code)
    member = "Message" if shape is not None and "Message" in shape.members else "message"
    body = {"__type": error.code, member: error.message}
    return Reply(error.status, _headers(), orjson.dumps(body))


def _headers() -> dict[str, str]:
    return {"content-type": _CONTENT_TYPE, REQUEST_ID: request_id()}
