"""Who may do what in SageMaker: callers are looked up in IAM, and what they ask is decided here.

A caller is known by the access key that signed the request; signatures are not checked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from mme_local.aws.clients import Clients
from mme_local.control.records import Invocation
from mme_local.errors import ApiError
from mme_local.iam import callers, sagemaker
from mme_local.iam.decisions import Ask, Caller, refusal

_KEEP_SECONDS: Final = 1.0
"""That a caller's policies are kept: what is taken away still counts so long; a refusal is never
made of policies that were kept. IAM itself takes seconds."""
_MOST_KEPT: Final = 1000


class Access:
    """Checks requests; used on the event loop, asks IAM on threads."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._known: dict[str, tuple[float, Caller]] = {}
        self._arns: dict[str, str] = {}
        self._looking: dict[str, asyncio.Future[Caller]] = {}

    async def check(self, invocation: Invocation) -> None:
        """Let an invocation pass, or not.

        Raises:
            ApiError: ``AccessDeniedException`` (403).
        """
        await self._require(
            invocation.caller_access_key,
            lambda: sagemaker.invocation(invocation, self._clients.region),
        )

    async def check_operation(
        self, key: str | None, operation: str, request: Mapping[str, Any]
    ) -> None:
        """Let a request to the control plane pass, or not.

        Args:
            key: the access key that it was signed with.
            operation: as ``CreateModel``.
            request: checked against its shape.

        Raises:
            ApiError: ``AccessDeniedException`` (403).
        """
        await self._require(
            key, lambda: sagemaker.operation(operation, request, self._clients.region)
        )

    async def _require(self, key: str | None, asked: Callable[[], Iterable[Ask]]) -> None:
        if key is None:
            return
        known = self._known.get(key)
        if known and time.monotonic() < known[0]:
            caller = known[1]
            if caller.policies is None or self._refusal(caller, asked) is None:
                return
        caller = await self._ask(key)
        if len(self._known) >= _MOST_KEPT:
            self._known.clear()
            self._arns.clear()
        keep = _KEEP_SECONDS if caller.policies is not None else float("inf")
        self._known[key] = (time.monotonic() + keep, caller)
        if text := self._refusal(caller, asked):
            raise ApiError("AccessDeniedException", text, HTTPStatus.FORBIDDEN)

    def _refusal(self, caller: Caller, asked: Callable[[], Iterable[Ask]]) -> str | None:
        return refusal(caller, asked(), self._clients.region)

    async def _ask(self, key: str) -> Caller:
        """Look a caller up, once for all requests that wait for it."""
        looking = self._looking.get(key)
        if looking is None:
            looking = asyncio.ensure_future(asyncio.to_thread(self._look_up, key))
            self._looking[key] = looking
            looking.add_done_callback(lambda _: self._looking.pop(key, None))
        return await asyncio.shield(looking)

    def _look_up(self, key: str) -> Caller:
        # An access key never goes to another owner.
        arn = self._arns.get(key)
        if arn is None:
            arn = self._arns.setdefault(key, callers.identity(self._clients, key))
        return callers.look_up(self._clients, arn)
