"""Endpoints: created, updated, scaled and deleted as the control plane asks for it.

Each change runs as a task of its own and moves the endpoint's status; changes of one endpoint come
one after the other.
"""

from __future__ import annotations

import asyncio
import logging
import random
import shutil
from collections.abc import Coroutine, Iterable
from typing import Any, Final

from mme_local.control.records import EndpointRecord, ResolvedConfig, VariantState
from mme_local.errors import LocalError
from mme_local.platform.context import Context
from mme_local.platform.variant import Variant

_SOON: Final = 5.0  # seconds for requests under way, when the local SageMaker stops
_SERVING: Final = frozenset({"InService", "Updating", "SystemUpdating", "RollingBack"})

_log = logging.getLogger(__name__)


class Endpoint:
    """An endpoint that exists, and the variants that serve it now."""

    def __init__(self, record: EndpointRecord, seed: int) -> None:
        self.record = record
        self.variants: dict[str, Variant] = {}
        self.retired: dict[str, Variant] = {}
        """Those that an update has replaced, until they have ended."""
        self.task: asyncio.Task[None] | None = None
        self._chance = random.Random(seed)  # noqa: S311 - repeatable

    @property
    def serves(self) -> bool:
        """Whether requests are answered in its status."""
        return self.record.status in _SERVING

    def choose(self) -> Variant:
        """A variant, by weight."""
        variants = list(self.variants.values())
        if len(variants) == 1:
            return variants[0]
        weights = [variant.state.current_weight for variant in variants]
        if not any(weights):
            weights = [1.0] * len(variants)
        return self._chance.choices(variants, weights)[0]


class EndpointManager:
    """All endpoints; used on the event loop only."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.endpoints: dict[str, Endpoint] = {}

    # -- What the control plane asks for ---------------------------------------------------------

    async def create(self, endpoint: EndpointRecord) -> None:
        """Start an endpoint; returns at once, and moves its status to InService or Failed."""
        hosted = Endpoint(endpoint, self.context.parameters.seed)
        self.endpoints[endpoint.name] = hosted
        self._change(hosted, self._create(hosted))

    async def update(self, endpoint: EndpointRecord, config: ResolvedConfig) -> None:
        """Replace what an endpoint runs; returns at once.

        The new instances are healthy before the old ones take no more requests. If they are not,
        the endpoint goes on as it was, InService, and its FailureReason says why.
        """
        endpoint.move("Updating")
        hosted = self.endpoints[endpoint.name]
        self._change(hosted, self._update(hosted, config))

    async def scale(
        self, endpoint: EndpointRecord, variant: str, count: int | None, weight: float | None
    ) -> None:
        """Change a variant's number of instances, its weight, or both; returns at once."""
        endpoint.move("Updating")
        hosted = self.endpoints[endpoint.name]
        self._change(hosted, self._scale(hosted, variant, count, weight))

    async def delete(self, name: str) -> None:
        """Answer what is under way and end an endpoint; returns when nothing is left of it."""
        self.endpoints[name].record.move("Deleting")
        await self._end(name, self._drain_seconds)

    async def close(self) -> None:
        """End all endpoints, soon; their records stay as they are."""
        await asyncio.gather(*(self._end(name, _SOON) for name in list(self.endpoints)))

    async def _end(self, name: str, drain_seconds: float) -> None:
        hosted = self.endpoints[name]
        if hosted.task:
            hosted.task.cancel()
            await asyncio.gather(hosted.task, return_exceptions=True)
        variants = [*hosted.variants.values(), *hosted.retired.values()]
        await self._close(variants, drain_seconds)
        if self.endpoints.get(name) is hosted:
            del self.endpoints[name]
        directory = self.context.run / "endpoints" / name
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
        self._tell(hosted)

    # -- What others look at ---------------------------------------------------------------------

    def find(self, name: str) -> Endpoint | None:
        """The endpoint of that name, whatever its status."""
        return self.endpoints.get(name)

    def snapshot(self) -> list[dict[str, Any]]:
        """What the page shows of all endpoints."""
        return [
            {
                "name": name,
                "status": hosted.record.status,
                "failure_reason": hosted.record.failure_reason,
                "variants": [variant.snapshot() for variant in hosted.variants.values()],
            }
            for name, hosted in sorted(self.endpoints.items())
        ]

    # -- Changes ---------------------------------------------------------------------------------

    def _change(self, hosted: Endpoint, work: Coroutine[Any, Any, None]) -> None:
        hosted.task = asyncio.create_task(self._run(hosted, work, hosted.task))

    async def _run(
        self,
        hosted: Endpoint,
        work: Coroutine[Any, Any, None],
        before: asyncio.Task[None] | None,
    ) -> None:
        try:
            if before and not before.done():
                await before
            await work
        except Exception as error:  # the endpoint must not stay in between for ever
            _log.exception("endpoint %s", hosted.record.name)
            hosted.record.move("Failed", f"An internal error occurred: {error}")
        finally:
            work.close()
        self._tell(hosted)

    async def _create(self, hosted: Endpoint) -> None:
        record = hosted.record
        # An endpoint that comes back after a restart has the instances that it was scaled to.
        states = {**_states(record.config), **record.variants}
        record.variants = states
        try:
            hosted.variants = await self._start(hosted, record.config, states)
        except LocalError as error:
            record.move("Failed", str(error))
            return
        record.move("InService")

    async def _update(self, hosted: Endpoint, config: ResolvedConfig) -> None:
        record = hosted.record
        record.move("Updating")
        states = _states(config)
        try:
            started = await self._start(hosted, config, states)
        except Exception as error:  # whatever it was, the endpoint serves as before
            self._stay(hosted, error)
            return
        hosted.retired, hosted.variants = hosted.variants, started
        await self._close(hosted.retired.values(), self._drain_seconds)
        hosted.retired = {}
        # Not before: who looks at an update that is under way is told what it began with.
        record.variants, record.config = states, config
        record.move("InService")

    async def _scale(
        self, hosted: Endpoint, name: str, count: int | None, weight: float | None
    ) -> None:
        hosted.record.move("Updating")
        try:
            variant = hosted.variants[name]
            if weight is not None:
                variant.state.current_weight = variant.state.desired_weight = weight
            if count is not None:
                await variant.scale_to(count, self._drain_seconds)
        except Exception as error:  # whatever it was, the endpoint serves as before
            self._stay(hosted, error)
            return
        hosted.record.move("InService")

    def _stay(self, hosted: Endpoint, error: Exception) -> None:
        """Leave an endpoint as it was before a change that has failed."""
        if not isinstance(error, LocalError):
            _log.error("endpoint %s", hosted.record.name, exc_info=error)
        hosted.record.move("InService", str(error) or type(error).__name__)

    async def _start(
        self, hosted: Endpoint, config: ResolvedConfig, states: dict[str, VariantState]
    ) -> dict[str, Variant]:
        """Start all variants of a configuration, or none."""
        variants = {
            resolved.name: Variant(
                self.context, hosted.record.name, resolved, states[resolved.name]
            )
            for resolved in config.variants
        }
        starts = [
            variant.scale_to(variant.state.desired_count, self._drain_seconds)
            for variant in variants.values()
        ]
        try:
            results = await asyncio.gather(*starts, return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result
        except BaseException:
            await self._close(variants.values(), 0)
            raise
        return variants

    async def _close(self, variants: Iterable[Variant], drain_seconds: float) -> None:
        await asyncio.gather(*(variant.close(drain_seconds) for variant in variants))

    @property
    def _drain_seconds(self) -> float:
        return self.context.parameters.invoke_seconds

    def _tell(self, hosted: Endpoint) -> None:
        record = hosted.record
        reason = {"reason": record.failure_reason} if record.failure_reason else {}
        self.context.events.emit(
            "endpoint status", endpoint=record.name, status=record.status, **reason
        )


def _states(config: ResolvedConfig) -> dict[str, VariantState]:
    return {
        variant.name: VariantState(
            variant.name, 0, variant.initial_count, variant.weight, variant.weight
        )
        for variant in config.variants
    }
