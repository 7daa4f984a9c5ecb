"""Autoscaling: target tracking of variants that application-autoscaling knows.

Scalable targets and policies are where AWS's clients put them; this reads them, looks at the metric
in CloudWatch as AWS's alarms do, and changes the number of instances. As on AWS, a metric without
data changes nothing: an endpoint without any traffic keeps its instances.
https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling.html
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from mme_local.aws import scalable_targets
from mme_local.aws.clients import Clients
from mme_local.events import Events
from mme_local.platform.endpoint import EndpointManager
from mme_local.telemetry.metrics import INVOCATIONS

_PREDEFINED: Final = "SageMakerVariantInvocationsPerInstance"
_COOLDOWN: Final = 300  # AWS's default, in seconds
_MINUTE: Final = 60
_WELL_BELOW: Final = 0.9  # AWS's alarm for fewer instances is at 90% of the target

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wish:
    """How many instances one policy would have."""

    count: int
    scale_out_cooldown: float
    scale_in_cooldown: float


class Autoscaler:
    """Scales variants; used on the event loop, asks AWS on threads.

    Args:
        endpoints: what is scaled.
        clients: where policies and metrics are.
        events: told of each change.
        clock: seconds since the epoch.
        minutes_above: minutes in a row above the target before there are more instances.
        minutes_below: minutes in a row well below it before there are fewer; AWS's alarms have 3
            and 15.
        look_seconds: between two looks.
    """

    def __init__(
        self,
        endpoints: EndpointManager,
        clients: Clients,
        events: Events,
        clock: Callable[[], float] = time.time,
        minutes_above: int = 3,
        minutes_below: int = 15,
        look_seconds: float = 10.0,
    ) -> None:
        self._endpoints = endpoints
        self._clients = clients
        self._events = events
        self._clock = clock
        self._above = minutes_above
        self._below = minutes_below
        self._look_seconds = look_seconds
        self._last_out: dict[str, float] = {}
        self._last_in: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look at all targets from now on."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop looking."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def step(self) -> None:
        """Look at all targets once, and scale what is to be scaled."""
        targets = await asyncio.to_thread(scalable_targets.registered, self._clients)
        for target in targets:
            await self._look(target)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._look_seconds)
            try:
                await self.step()
            except Exception as error:  # it may go better next time
                _log.warning("autoscaling: %s", error)

    async def _look(self, target: Mapping[str, Any]) -> None:
        resource = str(target["ResourceId"])
        named = scalable_targets.RESOURCE.fullmatch(resource)
        hosted = self._endpoints.find(named["endpoint"]) if named else None
        if named is None or hosted is None or hosted.record.status != "InService":
            return
        variant = hosted.variants.get(named["variant"])
        if variant is None:
            return
        current = variant.state.desired_count
        least, most = int(target["MinCapacity"]), int(target["MaxCapacity"])
        suspended = target.get("SuspendedState") or {}
        dimensions = {"EndpointName": named["endpoint"], "VariantName": named["variant"]}
        wishes = await asyncio.to_thread(self._wishes, resource, dimensions, current)
        if (
            self._endpoints.find(named["endpoint"]) is not hosted
            or hosted.record.status != "InService"
            or hosted.variants.get(named["variant"]) is not variant
            or variant.state.desired_count != current
        ):
            return  # it was deleted or changed meanwhile
        count = self._settled(resource, current, wishes, suspended)
        count = max(min(count, most) if count != current else current, least)
        if count == current:
            return
        now = self._clock()
        (self._last_out if count > current else self._last_in)[resource] = now
        self._events.emit("autoscaled", **_event(named, current, count))
        await self._endpoints.scale(hosted.record, named["variant"], count, None)

    def _settled(
        self, resource: str, current: int, wishes: list[Wish], suspended: Mapping[str, Any]
    ) -> int:
        """What the policies come to: the most that one wants, outside of its cooldown."""
        if not wishes:
            return current
        wish = max(wishes, key=lambda wish: wish.count)
        now = self._clock()
        if wish.count > current:
            waiting = now - self._last_out.get(resource, -math.inf) < wish.scale_out_cooldown
            return current if waiting or suspended.get("DynamicScalingOutSuspended") else wish.count
        last = max(self._last_in.get(resource, -math.inf), self._last_out.get(resource, -math.inf))
        waiting = now - last < wish.scale_in_cooldown
        return current if waiting or suspended.get("DynamicScalingInSuspended") else wish.count

    # -- On threads ------------------------------------------------------------------------------

    def _wishes(self, resource: str, dimensions: Mapping[str, str], current: int) -> list[Wish]:
        wishes = []
        for policy in scalable_targets.policies(self._clients, resource):
            tracking = policy.get("TargetTrackingScalingPolicyConfiguration", {})
            metric = _metric(tracking, dimensions)
            if not metric:
                _log.info("policy %s is not followed: it tracks no metric that is known here",
                          policy["PolicyName"])  # fmt: skip
                continue
            wishes.append(
                Wish(
                    self._wanted(tracking, metric, current),
                    tracking.get("ScaleOutCooldown", _COOLDOWN),
                    tracking.get("ScaleInCooldown", _COOLDOWN),
                )
            )
        return wishes

    def _wanted(self, tracking: Mapping[str, Any], metric: Mapping[str, Any], current: int) -> int:
        target = float(tracking["TargetValue"])
        minutes = self._minutes(metric, max(self._above, self._below))
        above = _without_gaps(minutes[-self._above :])
        if above and min(above) > target:
            return max(math.ceil(current * above[-1] / target), current + 1)
        below = _without_gaps(minutes[-self._below :])
        if below and max(below) < _WELL_BELOW * target and not tracking.get("DisableScaleIn"):
            return max(math.ceil(current * max(below) / target), 1)
        return current

    def _minutes(self, metric: Mapping[str, Any], count: int) -> list[float | None]:
        """The metric's values of the last whole minutes; None where there is no data."""
        end = self._clock() // _MINUTE * _MINUTE
        query = {**metric, "Period": _MINUTE}
        answer = self._clients.client("cloudwatch").get_metric_data(
            MetricDataQueries=[{"Id": "tracked", "MetricStat": query}],
            StartTime=datetime.fromtimestamp(end - count * _MINUTE, UTC),
            EndTime=datetime.fromtimestamp(end, UTC),
            ScanBy="TimestampAscending",
        )
        result = answer["MetricDataResults"][0]
        values = {
            round(at.timestamp()): value
            for at, value in zip(result["Timestamps"], result["Values"], strict=True)
        }
        return [values.get(round(end) - ago * _MINUTE) for ago in range(count, 0, -1)]


def _metric(tracking: Mapping[str, Any], dimensions: Mapping[str, str]) -> dict[str, Any] | None:
    """The metric that a policy tracks, as GetMetricData names it; None if it is not known here."""
    if predefined := tracking.get("PredefinedMetricSpecification"):
        if predefined["PredefinedMetricType"] != _PREDEFINED:
            return None
        named = [{"Name": name, "Value": value} for name, value in dimensions.items()]
        metric = {
            "Namespace": INVOCATIONS,
            "MetricName": "InvocationsPerInstance",
            "Dimensions": named,
        }
        return {"Metric": metric, "Stat": "Sum"}
    custom = tracking.get("CustomizedMetricSpecification")
    if not custom or "MetricName" not in custom:
        return None
    metric = {
        "Namespace": custom["Namespace"],
        "MetricName": custom["MetricName"],
        "Dimensions": list(custom.get("Dimensions", [])),
    }
    return {"Metric": metric, "Stat": custom["Statistic"]}


def _event(named: re.Match[str], before: int, after: int) -> dict[str, Any]:
    return {
        "endpoint": named["endpoint"],
        "variant": named["variant"],
        "before": before,
        "after": after,
    }


def _without_gaps(minutes: list[float | None]) -> list[float]:
    """The values, if there is one for each minute; else none."""
    values = [value for value in minutes if value is not None]
    return values if len(values) == len(minutes) else []
