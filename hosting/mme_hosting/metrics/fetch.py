"""GetMetricData: what was measured of an endpoint, period by period."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from mme_hosting.aws import AwsError
from mme_hosting.context import VARIANT, Context
from mme_hosting.errors import HostingError
from mme_hosting.metrics.catalogue import METRICS, Metric

_SHORT: Final = (1, 5, 10, 20, 30)  # seconds that CloudWatch takes besides whole minutes
_MOST_POINTS: Final = 3000
_DAY: Final = 86400
_KEPT: Final = ((3 * 3600, 60), (15 * _DAY, 300), (63 * _DAY, 3600))
"""Seconds after which CloudWatch has values for no shorter period:
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricStat.html"""
_LONGEST: Final = 455 * _DAY
"""Seconds that it keeps any."""


@dataclass(frozen=True, slots=True)
class Series:
    """One metric over time.

    `values` has one for each period of the report, in the metric's own unit; NaN where there is
    none.
    """

    metric: Metric
    values: tuple[float, ...]

    @property
    def known(self) -> list[float]:
        """The values that there are, oldest first."""
        return [value for value in self.values if not math.isnan(value)]


@dataclass(frozen=True, slots=True)
class Report:
    """What was measured of a production variant."""

    endpoint: str
    variant: str
    times: tuple[datetime, ...]
    """When each period begins, in UTC."""
    period: int
    """Seconds."""
    series: Mapping[Metric, Series]
    notes: tuple[str, ...]

    @property
    def empty(self) -> bool:
        """Whether nothing was measured at all."""
        return not any(each.known for each in self.series.values())

    @property
    def end(self) -> datetime:
        """Of the last period."""
        return datetime.fromtimestamp(self.times[-1].timestamp() + self.period, UTC)


def fetch(context: Context, since: int, period: int) -> Report:
    """Ask CloudWatch.

    Args:
        context: the endpoint.
        since: seconds to look back.
        period: seconds that each value is about.

    Raises:
        HostingError: there is no such endpoint, or the times do not fit.
    """
    _check(since, period)
    variant = _variant(context)
    now = time.time()
    first, end = int((now - since) // period * period), math.ceil(now / period) * period
    starts = range(first, end, period)
    plain = [metric for metric in METRICS if not metric.percentile]
    found = _ask(context, variant, plain, starts)
    notes = []
    try:
        found |= _ask(context, variant, [each for each in METRICS if each.percentile], starts)
    except AwsError as error:
        if error.code != "NotImplemented":
            raise
        notes.append("percentiles are not known: the local SageMaker's CloudWatch has none")
    return Report(
        endpoint=context.name,
        variant=variant,
        times=tuple(datetime.fromtimestamp(start, UTC) for start in starts),
        period=period,
        series={
            metric: Series(metric, _values(found.get(metric, {}), metric, starts))
            for metric in METRICS
            if found.get(metric) or not metric.optional
        },
        notes=tuple(notes),
    )


def _check(since: int, period: int) -> None:
    if period not in _SHORT and (period <= 0 or period % 60):
        raise HostingError(
            f"CloudWatch has no periods of {period} s: give 60 or a multiple, or one of "
            f"{', '.join(map(str, _SHORT))} for metrics that are published more often"
        )
    if since > _LONGEST:
        raise HostingError(f"CloudWatch keeps values for {_LONGEST // _DAY} days: give --since")
    if since < period or since // period > _MOST_POINTS:
        raise HostingError(
            f"{since} s in periods of {period} s are {since // period:,} values, and from 1 to "
            f"{_MOST_POINTS:,} are shown: give another --period or --since"
        )
    for age, coarse in _KEPT:
        if since > age and period % coarse:
            raise HostingError(
                f"of more than {_hours(age)} ago CloudWatch has only periods of {coarse} s and "
                "multiples: give another --period or --since"
            )


def _hours(seconds: int) -> str:
    return f"{seconds // _DAY} days" if seconds >= _DAY else f"{seconds // 3600} hours"


def _variant(context: Context) -> str:
    """The endpoint's production variant: ours, or the first of another's."""
    found = context.aws.find(
        "sagemaker",
        "DescribeEndpoint",
        f"the endpoint {context.name}",
        EndpointName=context.name,
    )
    if found is None:
        raise HostingError(
            f"there is no endpoint {context.name} in {context.aws.region}: mme deploy makes it"
        )
    names = [each["VariantName"] for each in found.get("ProductionVariants", [])]
    return VARIANT if VARIANT in names or not names else str(names[0])


def _ask(
    context: Context, variant: str, metrics: Sequence[Metric], starts: range
) -> dict[Metric, dict[int, float]]:
    """The values of each metric by the second that their period begins with."""
    found: dict[Metric, dict[int, float]] = {metric: {} for metric in metrics}
    pages = context.aws.pages(
        "cloudwatch",
        "GetMetricData",
        f"the endpoint {context.name}",
        MetricDataQueries=[
            _query(number, metric, context.name, variant, starts.step)
            for number, metric in enumerate(metrics)
        ],
        StartTime=datetime.fromtimestamp(starts.start, UTC),
        EndTime=datetime.fromtimestamp(starts.stop, UTC),
        ScanBy="TimestampAscending",
    )
    for page in pages:
        for result in page["MetricDataResults"]:
            points = zip(result["Timestamps"], result["Values"], strict=True)
            metric = metrics[int(result["Id"][1:])]
            found[metric].update((int(at.timestamp()), float(value)) for at, value in points)
    return found


def _query(number: int, metric: Metric, endpoint: str, variant: str, period: int) -> dict[str, Any]:
    dimensions = {"EndpointName": endpoint, "VariantName": variant}
    return {
        "Id": f"m{number}",
        "MetricStat": {
            "Metric": {
                "Namespace": metric.namespace,
                "MetricName": metric.name,
                "Dimensions": [{"Name": key, "Value": each} for key, each in dimensions.items()],
            },
            "Period": period,
            "Stat": metric.statistic,
        },
    }


def _values(points: Mapping[int, float], metric: Metric, starts: range) -> tuple[float, ...]:
    return tuple(points.get(start, math.nan) * metric.scale for start in starts)
