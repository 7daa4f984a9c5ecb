"""The HTTP front: SageMaker, SageMaker Runtime and the page at one address.

`POST /` is SageMaker, by `X-Amz-Target`; `POST /endpoints/{name}/invocations` is InvokeEndpoint;
the page's routes come after these.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, Protocol

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from mme_local.control.instance_types import advice
from mme_local.control.plane import ControlPlane
from mme_local.control.records import Invocation, InvocationAnswer
from mme_local.errors import ApiError, LocalError, validation_error
from mme_local.service import json11, runtime
from mme_local.service.reply import Reply
from mme_local.settings import ADDRESS

_LOG: Final = logging.getLogger(__name__)
_TARGET: Final = "x-amz-target"
_HOSTS: Final = [ADDRESS, "localhost", "[::1]"]  # another name would be a page of elsewhere
_CREDENTIAL: Final = re.compile(r"Credential=([^/,\s]+)/")

Check = Callable[[str | None, str, Mapping[str, Any]], Awaitable[None]]
"""Takes an access key, an operation and its request; raises ApiError if that may not be done."""


class Invoker(Protocol):
    """Answers InvokeEndpoint."""

    async def invoke(self, invocation: Invocation) -> InvocationAnswer:
        """Send a request to a container.

        Raises:
            ApiError: what the client is told instead.
        """


async def _allow(_key: str | None, _operation: str, _request: Mapping[str, Any]) -> None:
    return


def make_app(
    plane: ControlPlane,
    invoker: Invoker,
    routes: Sequence[BaseRoute] = (),
    check: Check = _allow,
) -> Starlette:
    """The application.

    Args:
        plane: SageMaker.
        invoker: SageMaker Runtime.
        routes: the page's.
        check: whether a caller may use the control plane so; by default everybody may.
    """
    front = _Front(plane, invoker, check)
    own: list[BaseRoute] = [
        Route("/", front.sagemaker, methods=["POST"]),
        Route("/endpoints/{name}/invocations", front.invoke, methods=["POST"]),
        Route("/endpoints/{name}/async-invocations", _no_async, methods=["POST"]),
        Route("/endpoints/{name}/invocations-response-stream", _no_stream, methods=["POST"]),
        *routes,
    ]
    return Starlette(
        routes=own, middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=_HOSTS)]
    )


class _Front:
    def __init__(self, plane: ControlPlane, invoker: Invoker, check: Check) -> None:
        self._plane = plane
        self._invoker = invoker
        self._check = check

    async def sagemaker(self, request: Request) -> Response:
        try:
            body = await _body(request)
            target = request.headers.get(_TARGET, "")
            name = json11.operation_name(target, self._plane.operations)
            members = json11.read(name, body, advice)
            await self._check(_access_key(request), name, members)
            answer = await self._plane.call(name, members)
            reply = json11.reply(name, answer)
        except Exception as error:
            reply = json11.error_reply(_as_api_error(error))
        return _response(reply)

    async def invoke(self, request: Request) -> Response:
        try:
            body = await _body(request)
            invocation = runtime.invocation(
                request.path_params["name"], dict(request.headers), body, _access_key(request)
            )
            reply = runtime.reply(await self._invoker.invoke(invocation))
        except Exception as error:
            reply = runtime.error_reply(_as_api_error(error))
        return _response(reply)


async def _no_async(_request: Request) -> Response:
    return _response(runtime.error_reply(_not_here("InvokeEndpointAsync")))


async def _no_stream(_request: Request) -> Response:
    return _response(runtime.error_reply(_not_here("InvokeEndpointWithResponseStream")))


def _not_here(operation: str) -> ApiError:
    return validation_error(
        f"The local SageMaker does not have {operation}, nor does SageMaker have it for "
        "multi-model endpoints: use InvokeEndpoint."
    )


async def _body(request: Request) -> bytes:
    """The body, up to the limit; a longer one is read to its end, so that the answer is too."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size <= runtime.LARGEST_BODY:
            parts.append(part)
        else:
            parts.clear()
    if size > runtime.LARGEST_BODY:
        raise runtime.too_large()
    return b"".join(parts)


def _access_key(request: Request) -> str | None:
    """What the request was signed with (signature version 4), in a header or in the address."""
    signed = _CREDENTIAL.search(request.headers.get("authorization", ""))
    if signed:
        return signed[1]
    return request.query_params.get("X-Amz-Credential", "").partition("/")[0] or None


def _as_api_error(error: Exception) -> ApiError:
    if isinstance(error, ApiError):
        return error
    if isinstance(error, LocalError):
        return validation_error(str(error))
    _LOG.error("a request has failed", exc_info=error)
    return ApiError(
        "InternalFailure",
        "The local SageMaker has failed; its log says more.",
        HTTPStatus.INTERNAL_SERVER_ERROR,
    )


def _response(reply: Reply) -> Response:
    return Response(reply.body, reply.status, dict(reply.headers))
