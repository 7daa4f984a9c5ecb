"""What AWS measures of a production variant, under AWS's names, dimensions and units.

https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html and
https://docs.aws.amazon.com/sagemaker/latest/dg/multi-model-endpoint-cloudwatch-metrics.html
"""

from __future__ import annotations

from mme_local.telemetry.metrics import INSTANCES, INVOCATIONS, Metrics, Unit


class VariantMetrics:
    """Measures one production variant; all times are given in seconds."""

    def __init__(self, metrics: Metrics, endpoint: str, variant: str) -> None:
        self._metrics = metrics
        self._dimensions = {"EndpointName": endpoint, "VariantName": variant}

    def cache_hit(self, hit: bool) -> None:
        """A request found its model loaded, or did not; the average is the share of hits."""
        self._put("ModelCacheHit", float(hit))

    def waited_for_load(self, seconds: float) -> None:
        """A request waited until its model was there."""
        self._time("ModelLoadingWaitTime", seconds)

    def downloaded(self, seconds: float) -> None:
        """An archive was downloaded and unpacked."""
        self._time("ModelDownloadingTime", seconds)

    def loaded(self, seconds: float) -> None:
        """A container loaded a model."""
        self._time("ModelLoadingTime", seconds)

    def unloaded(self, seconds: float) -> None:
        """A container unloaded a model."""
        self._time("ModelUnloadingTime", seconds)

    def invoked(
        self, instances: int, total: float, model: float, status: int, model_error: bool
    ) -> None:
        """A request was answered.

        Args:
            instances: of the variant.
            total: from its arrival to its answer.
            model: what the container took of that.
            status: what the container answered, or what the platform refuses it with.
            model_error: whether the container answered with an error, or not at all.
        """
        self._put("Invocations", 1)
        self._put("InvocationsPerInstance", 1 / max(instances, 1))
        self._put("Invocation4XXErrors", float(400 <= status < 500))
        self._put("Invocation5XXErrors", float(status >= 500 or status == 0))
        self._put("InvocationModelErrors", float(model_error))
        self._time("OverheadLatency", total - model)
        if model:
            self._time("ModelLatency", model)

    def instance(
        self, loaded: int | None, cpu: float | None, memory: float | None, disk: float
    ) -> None:
        """An instance was looked at.

        Args:
            loaded: models that are loaded; None where there is but one.
            cpu: CPUs in use, 1.5 is one and a half; None if that is not known.
            memory: share of the limit, from 0 to 1; None if that is not known.
            disk: share of what models may take, from 0 to 1.
        """
        if loaded is not None:
            self._put("LoadedModelCount", loaded, namespace=INSTANCES)
        if cpu is not None:
            self._put("CPUUtilization", 100 * cpu, "Percent", INSTANCES)
        if memory is not None:
            self._put("MemoryUtilization", 100 * memory, "Percent", INSTANCES)
        self._put("DiskUtilization", 100 * disk, "Percent", INSTANCES)

    def _time(self, name: str, seconds: float) -> None:
        self._put(name, 1e6 * seconds, "Microseconds")

    def _put(
        self, name: str, value: float, unit: Unit = "None", namespace: str = INVOCATIONS
    ) -> None:
        self._metrics.put(namespace, name, self._dimensions, value, unit)
