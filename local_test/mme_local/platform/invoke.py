"""InvokeEndpoint: from a client's request to a container's answer, or AWS's error."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from mme_local.control.records import Invocation, InvocationAnswer
from mme_local.errors import ApiError
from mme_local.platform import errors
from mme_local.platform.artifacts import check_target
from mme_local.platform.container import Answer, ContainerGoneError, ContainerTimeoutError
from mme_local.platform.endpoint import Endpoint, EndpointManager
from mme_local.platform.instance import Call
from mme_local.platform.variant import Variant

Check = Callable[[Invocation], Awaitable[None]]
"""Raises ApiError if the caller may not do this."""

_PASSED: Final = "x-amzn-sagemaker-"
_SLICE: Final = 1.0  # seconds to wait for an instance before looking at the endpoint again


async def _allow(_: Invocation) -> None:
    return


class Invoker:
    """Answers invocations.

    Args:
        endpoints: those that there are.
        check: whether the caller may invoke; by default everybody may.
    """

    def __init__(self, endpoints: EndpointManager, check: Check = _allow) -> None:
        self._endpoints = endpoints
        self._check = check
        self._parameters = endpoints.context.parameters
        self._region = endpoints.context.region

    async def invoke(self, invocation: Invocation) -> InvocationAnswer:
        """Answer one request.

        Raises:
            ApiError: ``ValidationError``, ``AccessDeniedException``, ``ModelError``,
                ``ModelNotReadyException``, ``ServiceUnavailable``, as AWS's.
        """
        call = Call()
        await self._check(invocation)
        endpoint = self._find(invocation.endpoint)
        variant = self._variant(endpoint, invocation)
        self._check_target(invocation, variant)
        try:
            variant, answer = await self._answer(endpoint, variant, invocation, call)
        except ApiError as error:
            status = int(error.fields.get("OriginalStatusCode", error.status))
            variant.answered(call, status, error.code == "ModelError")
            raise
        variant.answered(call, answer.status, not answer.ok)
        if not answer.ok:
            raise errors.model_error(endpoint.record.name, self._region, answer.status, answer.text)
        return InvocationAnswer(
            answer.body,
            answer.headers.get("content-type", "application/octet-stream"),
            variant.resolved.name,
            _passed(answer.headers),
        )

    # -- What is asked for -----------------------------------------------------------------------

    def _find(self, name: str) -> Endpoint:
        endpoint = self._endpoints.find(name)
        if endpoint is None:
            raise errors.endpoint_not_found(name)
        if not endpoint.serves:
            raise errors.endpoint_not_found(name, endpoint.record.status)
        return endpoint

    def _current(self, endpoint: Endpoint, variant: Variant, invocation: Invocation) -> Variant:
        """The variant itself, or what an update has put in its place."""
        if not endpoint.serves:  # it is being deleted
            raise errors.endpoint_not_found(endpoint.record.name, endpoint.record.status)
        current = endpoint.variants.get(variant.resolved.name)
        if current is variant:
            return variant
        current = current or self._variant(endpoint, invocation)
        self._check_target(invocation, current)
        return current

    def _variant(self, endpoint: Endpoint, invocation: Invocation) -> Variant:
        if invocation.target_variant is None:
            return endpoint.choose()
        variant = endpoint.variants.get(invocation.target_variant)
        if variant is None:
            raise errors.variant_not_found(endpoint.record.name, invocation.target_variant)
        return variant

    def _check_target(self, invocation: Invocation, variant: Variant) -> None:
        target = invocation.target_model
        if variant.resolved.multi_model:
            if not target:
                raise errors.target_model_missing(str(uuid.uuid4()))
            check_target(target)
        elif target:
            raise errors.target_model_not_supported(invocation.endpoint)

    # -- The answer ------------------------------------------------------------------------------

    async def _answer(
        self, endpoint: Endpoint, variant: Variant, invocation: Invocation, call: Call
    ) -> tuple[Variant, Answer]:
        """Send a request to instances until one answers it, as often as it is worth it."""
        name, target = endpoint.record.name, invocation.target_model
        headers = _container_headers(invocation.headers)
        answer: Answer | None = None
        for _ in range(self._parameters.invoke_attempts):
            instance = None
            while instance is None:
                variant = self._current(endpoint, variant, invocation)
                left = self._parameters.model_ready_seconds - call.elapsed
                if left <= 0:
                    raise errors.no_instance(name, variant.resolved.name)
                instance = await variant.instance_for(target, min(left, _SLICE))
            try:
                answer = await instance.invoke(target, invocation.body, headers, call)
            except ContainerGoneError:
                answer = None
                continue
            except ContainerTimeoutError:
                raise errors.timed_out(name, self._region) from None
            if not call.again:
                break
        if answer is None:
            raise errors.no_instance(name, variant.resolved.name)
        return variant, answer


def _container_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """What of a client's headers a container is sent: those that AWS documents."""
    return {
        name: value
        for name, value in headers.items()
        if name in {"content-type", "accept"} or name.startswith(_PASSED)
    }


def _passed(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower().startswith(_PASSED)}
