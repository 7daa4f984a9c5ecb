"""The metrics of a multi-model endpoint that are shown, and how.

https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html and
https://docs.aws.amazon.com/sagemaker/latest/dg/multi-model-endpoint-cloudwatch-metrics.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mme_hosting.deploy.resources import INSTANCES, NAMESPACE

_MS: Final = 1e-3  # of CloudWatch's microseconds
_PERCENT: Final = 100.0  # of a share


@dataclass(frozen=True, slots=True)
class Metric:
    """One statistic of one metric."""

    title: str
    name: str
    """CloudWatch's."""
    statistic: str
    unit: str
    """As it is shown: empty for a count, else ms or %."""
    scale: float = 1.0
    """From CloudWatch's unit to the one shown."""
    namespace: str = NAMESPACE
    optional: bool = False
    """Whether it is left out where there is none."""

    @property
    def counts(self) -> bool:
        """Whether its values can be added up."""
        return self.statistic == "Sum"

    @property
    def percentile(self) -> bool:
        """Whether only single values give it."""
        return self.statistic.startswith("p")


INVOCATIONS: Final = Metric("invocations", "Invocations", "Sum", "")
CLIENT_ERRORS: Final = Metric("4xx errors", "Invocation4XXErrors", "Sum", "")
SERVER_ERRORS: Final = Metric("5xx errors", "Invocation5XXErrors", "Sum", "")
LATENCY: Final = Metric("latency, average", "ModelLatency", "Average", "ms", _MS)
P50: Final = Metric("latency p50", "ModelLatency", "p50", "ms", _MS)
P90: Final = Metric("latency p90", "ModelLatency", "p90", "ms", _MS)
P99: Final = Metric("latency p99", "ModelLatency", "p99", "ms", _MS)
OVERHEAD: Final = Metric("overhead", "OverheadLatency", "Average", "ms", _MS)
CACHE_HIT: Final = Metric("cache hits", "ModelCacheHit", "Average", "%", _PERCENT)
LOADED: Final = Metric("loaded models", "LoadedModelCount", "Average", "", namespace=INSTANCES)
CPU: Final = Metric("CPU", "CPUUtilization", "Average", "%", namespace=INSTANCES)
MEMORY: Final = Metric("memory", "MemoryUtilization", "Average", "%", namespace=INSTANCES)
GPU: Final = Metric("GPU", "GPUUtilization", "Average", "%", 1.0, INSTANCES, optional=True)
GPU_MEMORY: Final = Metric(
    "GPU memory", "GPUMemoryUtilization", "Average", "%", 1.0, INSTANCES, optional=True
)

METRICS: Final = (
    INVOCATIONS,
    CLIENT_ERRORS,
    SERVER_ERRORS,
    LATENCY,
    P50,
    P90,
    P99,
    OVERHEAD,
    CACHE_HIT,
    Metric("wait for load", "ModelLoadingWaitTime", "Average", "ms", _MS),
    Metric("model download", "ModelDownloadingTime", "Average", "ms", _MS),
    Metric("model load", "ModelLoadingTime", "Average", "ms", _MS),
    Metric("model unload", "ModelUnloadingTime", "Average", "ms", _MS),
    LOADED,
    CPU,
    MEMORY,
    Metric("disk", "DiskUtilization", "Average", "%", namespace=INSTANCES),
    GPU,
    GPU_MEMORY,
)
"""In the order in which they are shown. Of instances it is the average; of CPUs, 100 % is one."""
