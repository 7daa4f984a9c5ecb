"""A production variant: as many healthy instances as are desired, replaced when they fail."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from statistics import quantiles
from typing import Any, Final

from mme_local.control.records import ResolvedVariant, VariantState
from mme_local.platform.context import Context
from mme_local.platform.instance import Call, Instance
from mme_local.platform.router import pick
from mme_local.platform.startup import InstanceError
from mme_local.telemetry.endpoint_metrics import VariantMetrics

_LATENCIES: Final = 1000  # the last ones, of which the page shows quantiles
_LOOK_AGAIN_SECONDS: Final = 0.02  # for an instance that takes requests
_FIRST_PAUSE: Final = 1.0  # seconds after a replacement that does not start; doubled each time
_LONGEST_PAUSE: Final = 60.0

_log = logging.getLogger(__name__)


class Variant:
    """The instances of a production variant; used on the event loop only.

    Args:
        context: what it runs on.
        endpoint: the endpoint's name.
        resolved: what it is.
        state: what DescribeEndpoint shows of it.
    """

    def __init__(
        self, context: Context, endpoint: str, resolved: ResolvedVariant, state: VariantState
    ) -> None:
        self.resolved = resolved
        self.state = state
        self.metrics = VariantMetrics(context.metrics, endpoint, resolved.name)
        self.instances: list[Instance] = []
        self.hits = 0
        self.misses = 0
        self._context = context
        self._endpoint = endpoint
        self._chance = random.Random(context.parameters.seed)  # noqa: S311 - repeatable
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)
        self._requests = 0
        self._desired = 0
        self._keepers: dict[Instance, asyncio.Task[None]] = {}
        self._scaling = asyncio.Lock()
        self._closed = False

    # -- Requests --------------------------------------------------------------------------------

    async def instance_for(self, target: str | None, within: float) -> Instance | None:
        """An instance that takes a request now; None if there is none `within` seconds."""
        end = time.monotonic() + within
        while True:
            if routable := [instance for instance in self.instances if instance.routable]:
                spill = self._context.parameters.spill_in_flight
                return pick(routable, target, spill, self._chance)
            if time.monotonic() >= end:
                return None
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    def answered(self, call: Call, status: int, model_error: bool) -> None:
        """Note how a request ended."""
        total = call.elapsed
        self._requests += 1
        self._latencies.append(total)
        if call.hit is not None:
            self.hits += call.hit
            self.misses += not call.hit
            self.metrics.cache_hit(call.hit)
            if not call.hit:
                self.metrics.waited_for_load(call.load_seconds)
        self.metrics.invoked(
            self.state.current_count, total, call.model_seconds, status, model_error
        )

    # -- Instances -------------------------------------------------------------------------------

    @property
    def standing(self) -> list[Instance]:
        """The instances that are to stay."""
        return [
            instance
            for instance in self.instances
            if instance.status not in {"Draining", "Stopped"}
        ]

    async def scale_to(self, count: int, drain_seconds: float) -> None:
        """Have `count` healthy instances; returns when they are there.

        Raises:
            InstanceError: one that was to be added did not start; those there are stay.
        """
        async with self._scaling:
            if self._closed:
                raise InstanceError("the endpoint was deleted or updated meanwhile")
            added = [self._new() for _ in range(count - len(self.standing))]
            self.state.desired_count = count
            before, self._desired = self._desired, count
            try:
                results = await asyncio.gather(
                    *(instance.start() for instance in added), return_exceptions=True
                )
                for result in results:
                    if isinstance(result, BaseException):
                        raise result
            except BaseException:
                self._desired = before
                self.state.desired_count = before or count  # of one that never was: as asked for
                await asyncio.gather(*(instance.stop() for instance in added))
                raise
            for instance in added:
                self._keep(instance)
            # The last to come are the first to go: the others hold more.
            surplus = self.standing[count:]
            await asyncio.gather(*(self._retire(instance, drain_seconds) for instance in surplus))

    async def close(self, drain_seconds: float) -> None:
        """Answer what is under way, and end all instances."""
        async with self._scaling:
            self._closed = True
            self._desired = 0
            instances = list(self.instances)
            await asyncio.gather(*(self._retire(instance, drain_seconds) for instance in instances))
            failed = dict(self._keepers)  # those that are being replaced
            for keeper in failed.values():
                keeper.cancel()
            await asyncio.gather(*failed.values(), return_exceptions=True)
            await asyncio.gather(*(instance.stop() for instance in failed))

    def _new(self) -> Instance:
        return Instance(self._context, self._endpoint, self.resolved, self.metrics)

    def _keep(self, instance: Instance) -> None:
        """Let an instance take requests, and replace it when it fails."""
        self.instances.append(instance)
        keeper = asyncio.create_task(self._replace_when_failed(instance))
        self._keepers[instance] = keeper
        keeper.add_done_callback(lambda _: self._keepers.pop(instance, None))
        self._count()
        self._tell("instance in service", instance)

    async def _retire(self, instance: Instance, drain_seconds: float) -> None:
        if keeper := self._keepers.get(instance):
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        await instance.drain(drain_seconds)
        if instance in self.instances:
            self.instances.remove(instance)
        self._count()
        self._tell("instance stopped", instance)

    async def _replace_when_failed(self, instance: Instance) -> None:
        try:
            why = await instance.watch()
        except Exception as error:  # what cannot be looked at is not healthy
            why = f"it cannot be looked at: {error}"
        self.instances.remove(instance)
        self._count()
        self._tell("instance failed", instance, reason=why)
        _log.warning("instance %s of %s: %s", instance.id, self._endpoint, why)
        # One that hangs may take long to end: those who wait need another now.
        await asyncio.gather(self._replace(), instance.stop())

    async def _replace(self) -> None:
        """Start an instance, as often as it takes, unless there are enough meanwhile."""
        pause = _FIRST_PAUSE
        while len(self.standing) < self._desired:
            replacement = self._new()
            try:
                await replacement.start()
            except Exception as error:  # whatever it is, the endpoint must come back
                self._tell("instance failed", replacement, reason=str(error))
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            if len(self.standing) < self._desired:
                self._keep(replacement)
            else:
                await replacement.stop()

    def _count(self) -> None:
        self.state.current_count = len(self.standing)

    # -- What it is ------------------------------------------------------------------------------

    @property
    def requests(self) -> int:
        """Requests that were answered."""
        return self._requests

    def snapshot(self) -> dict[str, Any]:
        """What the page shows of it."""
        latencies = sorted(self._latencies)
        cuts = quantiles(latencies, n=100) if len(latencies) > 1 else latencies * 99
        return {
            "name": self.resolved.name,
            "instance_type": self.resolved.instance_type,
            "desired": self.state.desired_count,
            "instances": [instance.snapshot() for instance in self.instances],
            "cache": {"hits": self.hits, "misses": self.misses},
            "latency_ms": {
                "p50": round(1000 * cuts[49], 3) if cuts else None,
                "p99": round(1000 * cuts[98], 3) if cuts else None,
                "count": self._requests,
            },
        }

    def _tell(self, kind: str, instance: Instance, **fields: object) -> None:
        self._context.events.emit(
            kind,
            endpoint=self._endpoint,
            variant=self.resolved.name,
            instance=instance.id,
            **fields,
        )
