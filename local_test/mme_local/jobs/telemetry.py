"""Where a job's lines and numbers go: the group, the streams and the namespace that AWS has.

https://docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, Protocol

from mme_local.containers.spec import Container, ContainerSpec

LOG_GROUP: Final = "/aws/sagemaker/TrainingJobs"
NAMESPACE: Final = "/aws/sagemaker/TrainingJobs"

Unit = Literal["None", "Percent"]


class LogStream(Protocol):
    """A stream of CloudWatch Logs."""

    def write(self, line: str) -> None:
        """Take a line; called on the event loop."""

    async def close(self) -> None:
        """Send what is left: after this, readers find every line."""


LogStreams = Callable[[str, str], LogStream]
"""Makes a stream, of the names of its group and its own."""


class MetricSink(Protocol):
    """CloudWatch's metrics."""

    def put(
        self, namespace: str, name: str, dimensions: Mapping[str, str], value: float, unit: Unit
    ) -> None:
        """Take one value, of now."""


async def watch(
    job: str,
    containers: Sequence[tuple[Container, ContainerSpec]],
    sink: MetricSink,
    seconds: float,
) -> None:
    """Measure each host of a job every so many seconds, until cancelled.

    ``CPUUtilization`` is per cent of a CPU, of all CPUs together; ``MemoryUtilization`` per cent
    of the instance's memory; the dimension is ``Host``.
    """
    while True:
        for number, (container, spec) in enumerate(containers, 1):
            usage = await container.usage()
            if usage is None:
                continue
            host = {"Host": f"{job}/algo-{number}"}
            percent = 100 * usage.memory / spec.memory
            sink.put(NAMESPACE, "CPUUtilization", host, 100 * usage.cpu, "Percent")
            sink.put(NAMESPACE, "MemoryUtilization", host, percent, "Percent")
        await asyncio.sleep(seconds)
