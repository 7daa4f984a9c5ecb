"""What nobody should be surprised by: what was not measured, and what AWS does not publish."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mme_hosting.fit.capacity import MOST_MODELS, Assumptions
from mme_hosting.fit.instances import GIB
from mme_hosting.fit.measure import Measured
from mme_hosting.fit.plan import MOST_INSTANCES, Row, Wanted
from mme_hosting.fit.traffic import Traffic

PRICES = (
    "aws pricing get-products --region us-east-1 --service-code AmazonSageMaker --filters "
    "Type=TERM_MATCH,Field=usagetype,Value=USE1-Host:ml.m5.large"
)
"""The command that asks AWS for a price: real-time inference, one type, in us-east-1."""


def notes(
    rows: Sequence[Row],
    measured: Measured,
    traffic: Traffic,
    wanted: Wanted,
    assumed: Assumptions,
) -> list[str]:
    """What the plan is unsure of, a sentence or two each."""
    return [
        *_about_memory(rows, measured, assumed),
        *_about_requests(traffic, wanted),
        *_about_cpu(rows, measured),
        *_about_prices(rows),
    ]


def _about_memory(rows: Sequence[Row], measured: Measured, assumed: Assumptions) -> Iterator[str]:
    yield (
        "SageMaker's own share of the memory and when it unloads are not published. Likely is "
        f"that it keeps {assumed.host_memory / GIB:g} GiB and unloads above "
        f"{assumed.memory_high:.0%}; the second number of models is with half a GiB kept, and "
        "filled up."
    )
    if any(row.models[1] == MOST_MODELS for row in rows):
        yield (
            f"No more than {MOST_MODELS:,} models on an instance are reckoned with: that is how "
            "many the kernel's usual number of process ids is enough for."
        )
    if "code" in measured.kinds and len(measured.sizes) > 1:
        yield "Models with code are taken to be as frequent among all as in the sample."
    if any(row.instance.gpus for row in rows):
        yield (
            "Of GPUs nothing was measured: types with one are reckoned by their main memory, and "
            "as if their CPUs predicted."
        )


def _about_requests(traffic: Traffic, wanted: Wanted) -> Iterator[str]:
    yield (
        "Which models SageMaker unloads first is not published: the least recently used, here. "
        + (
            "A request goes to an instance that has its model; one that is asked for very often is "
            "loaded on several, which takes room that is not reckoned."
            if wanted.sticky
            else "A request goes to any instance."
        )
    )
    if traffic.unknown:
        yield (
            f"{traffic.unknown:,} models of the traffic are not among the archives: they are "
            "reckoned as average ones."
        )
    if wanted.rate and traffic.rate is None:
        yield "The rate is taken to be steady: give the rate of the busiest minute."
    if not wanted.rate:
        yield "No rate is known, so CPUs are not reckoned with: give --rate."
    yield (
        "Not reckoned: the download from S3 before a load, which a missing model's request waits "
        "for too, and whatever SageMaker itself adds to a request."
    )


def _about_cpu(rows: Sequence[Row], measured: Measured) -> Iterator[str]:
    if measured.invocations:
        yield (
            "CPU seconds are this machine's, and more while it has other things to do. An instance "
            "is faster or slower, and its virtual CPU is half a core."
        )
    if burst := [row.instance for row in rows if row.instance.cpu_share < 1]:
        shares = ", ".join(f"{each.name} {each.cpu_share:.1%}" for each in burst)
        yield f"Burstable types are reckoned with what their CPUs do all the time: {shares}."
    if any(row.instances == 1 for row in rows):
        yield "One instance is no redundancy: AWS recommends two, in two zones; see --min."
    if any(row.instances is None for row in rows):
        yield f"No more than {MOST_INSTANCES} instances are tried."


def _about_prices(rows: Sequence[Row]) -> Iterator[str]:
    seen = [
        f"{each.name} {each.as_of or 'undated'} ({each.source or 'no source'})"
        for each in (row.instance for row in rows)
        if each.usd_per_hour is not None
    ]
    if seen:
        yield (
            f"Prices are of us-east-1 and change. They are as of: {'; '.join(seen)}. Storage and "
            "data transfer come on top."
        )
    if unpriced := [r.instance.name for r in rows if r.instance.usd_per_hour is None]:
        yield f"No price is known of {', '.join(unpriced)}."
    yield f"Ask AWS for prices with `{PRICES}`, and give them with --prices FILE."
