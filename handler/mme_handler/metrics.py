"""Counts of what models do: taken in each worker, added up and shown by the server.

A worker counts between two visits of the server and hands over the difference, so what a dead
worker had handed over is not lost. The server shows the sums as Prometheus text.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

LATENCY_BUCKETS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0,
)  # fmt: skip
"""Upper bounds in seconds of the latency histogram, from one row to a hook that hangs."""

_MOST_MODELS: Final = 20_000  # the least recently active are forgotten


class Invocations:
    """What one model has answered since the last `take`."""

    __slots__ = ("_buckets", "_bytes_in", "_bytes_out", "_last", "_seconds", "_statuses")

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._statuses: dict[int, int] = {}
        self._buckets = [0] * (len(LATENCY_BUCKETS) + 1)
        self._seconds = 0.0
        self._bytes_in = self._bytes_out = 0
        self._last = 0.0

    def record(self, status: int, seconds: float, bytes_in: int, bytes_out: int) -> None:
        """Count one invocation."""
        self._statuses[status] = self._statuses.get(status, 0) + 1
        self._buckets[bisect_left(LATENCY_BUCKETS, seconds)] += 1
        self._seconds += seconds
        self._bytes_in += bytes_in
        self._bytes_out += bytes_out
        self._last = time.time()

    def take(self) -> dict[str, Any] | None:
        """Hand over the counts and begin again; None when there was no invocation."""
        if not self._statuses:
            return None
        taken = {
            "statuses": [[status, count] for status, count in self._statuses.items()],
            "buckets": self._buckets,
            "seconds": self._seconds,
            "bytes_in": self._bytes_in,
            "bytes_out": self._bytes_out,
            "last": self._last,
        }
        self._reset()
        return taken


@dataclass(slots=True)
class _ModelTotals:
    loads: Counter[int] = field(default_factory=Counter)
    load_seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    buckets: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BUCKETS) + 1))
    seconds: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    last: float = 0.0


_INFO = ("booster", "objective", "features", "classes", "rounds", "xgboost")


class LoadedModel(NamedTuple):
    """A model that is loaded: its id, its estimated bytes, and what its file says."""

    name: str
    memory: int
    info: Mapping[str, str | int]
    """`ModelInfo.summary`; empty if it is not a booster."""
    gpu_memory: int | None = None
    """Its estimated bytes on GPUs; None where there are none."""


class GpuUse(NamedTuple):
    """The memory of one GPU, in bytes."""

    number: int
    used: int
    charged: int
    total: int


class ServerMetrics(Collector):
    """The sums over all models and processes.

    Args:
        gauges: returns the server's state now: budget, used, base, models, hosts, isolated.
        models: returns the models that are loaded.
        gpus: returns what is in use of each GPU.
    """

    def __init__(
        self,
        gauges: Callable[[], dict[str, float]],
        models: Callable[[], Iterable[LoadedModel]],
        gpus: Callable[[], Iterable[GpuUse]] = tuple,
    ) -> None:
        self._gauges = gauges
        self._loaded_models = models
        self._gpus = gpus
        self._models: OrderedDict[str, _ModelTotals] = OrderedDict()
        self.restarts: Counter[str] = Counter()
        self.refresh: Callable[[], None] = lambda: None
        """Called before the sums are shown, to fetch what the workers have counted."""
        self.registry = CollectorRegistry(auto_describe=False)

    def register(self) -> None:
        """Show the sums in `registry`, once the callables can be called."""
        self.registry.register(self)

    def _totals(self, model: str) -> _ModelTotals:
        totals = self._models.get(model)
        if totals is None:
            totals = self._models[model] = _ModelTotals()
            if len(self._models) > _MOST_MODELS:
                self._models.popitem(last=False)
        else:
            self._models.move_to_end(model)
        return totals

    def loaded(self, model: str, status: int, seconds: float) -> None:
        """Count one load, successful (200) or not."""
        totals = self._totals(model)
        totals.loads[status] += 1
        totals.load_seconds += seconds

    def add(self, model: str, taken: dict[str, Any]) -> None:
        """Add what a worker has counted (`Invocations.take`)."""
        totals = self._totals(model)
        for status, count in taken["statuses"]:
            totals.statuses[status] += count
        totals.buckets = [a + b for a, b in zip(totals.buckets, taken["buckets"], strict=True)]
        totals.seconds += taken["seconds"]
        totals.bytes_in += taken["bytes_in"]
        totals.bytes_out += taken["bytes_out"]
        totals.last = max(totals.last, taken["last"])

    def collect(self) -> Iterator[Metric]:
        """The metrics, for prometheus-client."""
        self.refresh()
        yield from self._server_metrics()
        yield from self._gpu_metrics()
        yield from self._model_metrics(list(self._models.items()))

    def _server_metrics(self) -> Iterator[Metric]:
        helps = {
            "mme_memory_budget_bytes": "Memory that the whole server may use",
            "mme_memory_used_bytes": "Memory charged: the server and the estimates of all models",
            "mme_memory_measured_bytes": "Memory that the server's processes really take",
            "mme_models": "Models loaded",
            "mme_hosts": "Processes that serve plain models",
            "mme_isolated_workers": "Processes that serve one model each",
        }
        for name, value in self._gauges().items():
            yield GaugeMetricFamily(name, helps[name], value)
        restarts = CounterMetricFamily(
            "mme_restarts", "Processes replaced after they had ended by themselves", labels=["kind"]
        )
        for kind in ("host", "isolated", "zygote"):
            restarts.add_metric([kind], self.restarts[kind])
        yield restarts
        memory = GaugeMetricFamily(
            "mme_model_memory_bytes", "Estimated memory of a loaded model", labels=["model"]
        )
        info = GaugeMetricFamily(
            "mme_model_info", "What a loaded model is: always 1", labels=["model", *_INFO]
        )
        for loaded in self._loaded_models():
            memory.add_metric([loaded.name], loaded.memory)
            if loaded.info:
                values = [str(loaded.info[name]) for name in _INFO]
                info.add_metric([loaded.name, *values], 1)
        yield memory
        yield info

    def _gpu_metrics(self) -> Iterator[Metric]:
        gpus = list(self._gpus())
        if not gpus:
            return
        used, charged, total = families = [
            GaugeMetricFamily(f"mme_gpu_memory_{name}_bytes", text, labels=["gpu"])
            for name, text in (
                ("used", "Memory in use on a GPU, as its driver says"),
                ("charged", "Memory of a GPU charged: its host and the estimates of its models"),
                ("total", "Memory of a GPU"),
            )
        ]
        for gpu in gpus:
            number = [str(gpu.number)]
            used.add_metric(number, gpu.used)
            charged.add_metric(number, gpu.charged)
            total.add_metric(number, gpu.total)
        yield from families
        memory = GaugeMetricFamily(
            "mme_model_gpu_memory_bytes",
            "Estimated memory of a loaded model on all GPUs",
            labels=["model"],
        )
        for loaded in self._loaded_models():
            if loaded.gpu_memory is not None:
                memory.add_metric([loaded.name], loaded.gpu_memory)
        yield memory

    def _model_metrics(self, models: list[tuple[str, _ModelTotals]]) -> Iterator[Metric]:
        by_status = ["model", "status"]
        loads = CounterMetricFamily("mme_loads", "Loads by status", labels=by_status)
        load_seconds = CounterMetricFamily(
            "mme_load_seconds", "Seconds spent on loads", labels=["model"]
        )
        invocations = CounterMetricFamily(
            "mme_invocations", "Invocations by status", labels=by_status
        )
        latency = HistogramMetricFamily(
            "mme_invocation_seconds", "Seconds from request to answer in a worker", labels=["model"]
        )
        received = CounterMetricFamily("mme_request_bytes", "Bytes of bodies", labels=["model"])
        sent = CounterMetricFamily("mme_response_bytes", "Bytes of answers", labels=["model"])
        last = GaugeMetricFamily(
            "mme_model_last_used_timestamp_seconds", "Last invocation", labels=["model"]
        )
        for model, totals in models:
            for status, count in list(totals.loads.items()):
                loads.add_metric([model, str(status)], count)
            load_seconds.add_metric([model], totals.load_seconds)
            if not totals.last:
                continue
            for status, count in list(totals.statuses.items()):
                invocations.add_metric([model, str(status)], count)
            latency.add_metric([model], _cumulative(totals.buckets), totals.seconds)
            received.add_metric([model], totals.bytes_in)
            sent.add_metric([model], totals.bytes_out)
            last.add_metric([model], totals.last)
        yield from (loads, load_seconds, invocations, latency, received, sent, last)


def _cumulative(buckets: list[int]) -> list[tuple[str, float]]:
    total, rows = 0, []
    for bound, count in zip((*map(str, LATENCY_BUCKETS), "+Inf"), buckets, strict=True):
        total += count
        rows.append((bound, float(total)))
    return rows
