"""CloudWatch metrics: collected by whoever measures, sent once a second.

What is collected of one metric within a second goes as one set of statistics (sum, count, smallest,
largest). moto keeps every single value that it is given and goes through all of them at each query,
so that values would grow with the requests; CloudWatch itself answers the same statistics from
either, but for percentiles, which moto does not have at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, Literal

from mme_local.aws.clients import Clients

Unit = Literal["None", "Count", "Percent", "Microseconds", "Seconds", "Bytes"]

INVOCATIONS: Final = "AWS/SageMaker"
"""Namespace of what is measured of requests and models."""
INSTANCES: Final = "/aws/sagemaker/Endpoints"
"""Namespace of what is measured of instances."""

_PERIOD: Final = 1.0
_MOST_AT_ONCE: Final = 500  # AWS takes 1,000 in a call
_Key = tuple[str, str, tuple[tuple[str, str], ...], Unit]

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Statistics:
    count: int
    sum: float
    smallest: float
    largest: float


class Metrics:
    """Collects values and sends them; used on the event loop only."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._collected: dict[_Key, _Statistics] = {}
        self._task: asyncio.Task[None] | None = None
        self._sending = asyncio.Lock()
        self._stopping = asyncio.Event()

    def put(
        self,
        namespace: str,
        name: str,
        dimensions: Mapping[str, str],
        value: float,
        unit: Unit = "None",
    ) -> None:
        """Collect a value."""
        key = (namespace, name, tuple(dimensions.items()), unit)
        if known := self._collected.get(key):
            known.count += 1
            known.sum += value
            known.smallest = min(known.smallest, value)
            known.largest = max(known.largest, value)
        else:
            self._collected[key] = _Statistics(1, value, value, value)

    def start(self) -> None:
        """Send once a second from now on."""
        self._task = asyncio.create_task(self._run())

    async def flush(self) -> None:
        """Send what was collected until now; what cannot be sent is lost, and logged."""
        async with self._sending:
            collected, self._collected = self._collected, {}
            now = datetime.now(UTC)
            for namespace, data in _requests(collected, now):
                try:
                    await asyncio.to_thread(
                        self._clients.client("cloudwatch").put_metric_data,
                        Namespace=namespace,
                        MetricData=data,
                    )
                except Exception as error:  # metrics are never worth an outage
                    _log.warning("%d metrics could not be sent: %s", len(data), error)

    async def close(self) -> None:
        """Send what is left, and stop."""
        self._stopping.set()
        if self._task:
            await self._task
        await self.flush()

    async def _run(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _PERIOD)
            await self.flush()


def _requests(
    collected: Mapping[_Key, _Statistics], now: datetime
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Namespace and data of each call of PutMetricData."""
    for namespace in sorted({key[0] for key in collected}):
        data = (
            {
                "MetricName": name,
                "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions],
                "Timestamp": now,
                "Unit": unit,
                "StatisticValues": {
                    "SampleCount": statistics.count,
                    "Sum": statistics.sum,
                    "Minimum": statistics.smallest,
                    "Maximum": statistics.largest,
                },
            }
            for (of, name, dimensions, unit), statistics in collected.items()
            if of == namespace
        )
        while batch := list(islice(data, _MOST_AT_ONCE)):
            yield namespace, batch
