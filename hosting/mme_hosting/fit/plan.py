"""For each instance type: how many of it the traffic needs, why, and what they cost."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from mme_hosting.errors import HostingError
from mme_hosting.fit.archives import Packed
from mme_hosting.fit.capacity import MOST_MODELS, Assumptions, cost, fitting, room
from mme_hosting.fit.instances import HOURS, InstanceType
from mme_hosting.fit.measure import Measured
from mme_hosting.fit.simulate import play
from mme_hosting.fit.traffic import Traffic

Limit = Literal["hit ratio", "CPU", "minimum", "memory"]

MOST_INSTANCES: Final = 100


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the endpoint must do."""

    rate: float
    """Requests a second; 0 if only the memory counts."""
    hit_ratio: float
    minimum: int
    """Instances at least."""
    sticky: bool = True
    """Whether SageMaker sends a request to an instance that has its model."""


@dataclass(frozen=True, slots=True)
class Row:
    """One instance type; `instances` is None if no number that is tried is enough."""

    instance: InstanceType
    models: tuple[int, int]
    """That fit on one: likely, at best."""
    hits: dict[int, float]
    """The likely hit ratio by the number of instances."""
    hits_best: float
    """That of `instances`, or of the most tried, with room at best."""
    instances: int | None
    limit: Limit
    """What asks for as many."""
    requests_per_second: float | None
    """That one instance answers, with this hit ratio; None if no model could be invoked."""

    @property
    def usd_per_month(self) -> float | None:
        """Of all instances; None if they are not enough, or no price is known."""
        price = self.instance.usd_per_hour
        return None if price is None or self.instances is None else price * self.instances * HOURS


def costs_of(
    archives: Sequence[Packed], measured: Measured, unknown: int = 0, seed: int = 0
) -> tuple[list[int], int]:
    """Bytes that each model takes, and the bytes of the largest one's model files.

    Those that were not measured are taken to have code as often as those that were, and model files
    as large for their archive. `unknown` models of average cost are added at the end.
    """
    chance = random.Random(seed)  # noqa: S311 - no secret
    kinds = [kind for kind, _ in measured.sizes.values()]
    costs, largest = [], 0
    for packed in archives:
        if packed.name in measured.sizes:
            kind, size = measured.sizes[packed.name]
        else:
            kind, size = chance.choice(kinds), int(packed.size * measured.ratio)
        costs.append(cost(measured.kinds[kind], size))
        largest = max(largest, size)
    mean = sum(costs) // len(costs)
    return costs + [mean] * unknown, largest


def make_plan(
    instances: Sequence[InstanceType],
    measured: Measured,
    costs: Sequence[int],
    largest: int,
    traffic: Traffic,
    wanted: Wanted,
    assumed: Assumptions,
) -> list[Row]:
    """A row for each instance type, in their order.

    Raises:
        HostingError: a rate is wanted, and no model could be invoked.
    """
    if wanted.rate and measured.invocations is None:
        raise HostingError(
            "no model could be asked with a row, so nothing is known of a rate: give rows with "
            "--rows FILE, or leave --rate out"
        )
    known = _Hits(costs, traffic, wanted.sticky)
    return [
        _Planner(instance, measured, costs, largest, wanted, assumed, known).row()
        for instance in instances
    ]


def cheapest(rows: Sequence[Row]) -> Row | None:
    """The one whose month costs least; None if no price is known, or no type is enough."""
    priced = [row for row in rows if row.usd_per_month is not None]
    return min(priced, key=lambda row: row.usd_per_month or 0.0, default=None)


class _Hits:
    """Hit ratios of the traffic, each reckoned once."""

    def __init__(self, costs: Sequence[int], traffic: Traffic, sticky: bool) -> None:
        self._costs = costs
        self._traffic = traffic
        self._sticky = sticky
        self._known: dict[tuple[int, int], float] = {}

    def ratio(self, bytes_: int, count: int) -> float:
        key = (bytes_, count)
        if key not in self._known:
            outcome = play(
                self._traffic.trace,
                self._costs,
                bytes_,
                instances=count,
                most=MOST_MODELS,
                sticky=self._sticky,
                warm=self._traffic.warm,
            )
            self._known[key] = outcome.ratio
        return self._known[key]


class _Planner:
    """Finds the smallest number of one instance type that is enough."""

    def __init__(
        self,
        instance: InstanceType,
        measured: Measured,
        costs: Sequence[int],
        largest: int,
        wanted: Wanted,
        assumed: Assumptions,
        known: _Hits,
    ) -> None:
        self._instance = instance
        self._measured = measured
        self._costs = costs
        self._wanted = wanted
        self._room = room(instance, measured, assumed, largest)
        self._known = known
        share = min(assumed.utilization, instance.cpu_share)
        self._cpus = instance.vcpus * share
        self._hits: dict[int, float] = {}

    def row(self) -> Row:
        likely, best = (fitting(self._costs, size) for size in (self._room.likely, self._room.best))
        self._hit(1)
        count, limit = self._smallest() if likely else (None, "memory")
        shown = count or max(self._hits)
        return Row(
            instance=self._instance,
            models=(likely, best),
            hits=dict(sorted(self._hits.items())),
            hits_best=self._known.ratio(self._room.best, shown),
            instances=count,
            limit=limit,
            requests_per_second=self._rate_of_one(self._hit(shown)),
        )

    def _hit(self, count: int) -> float:
        if count not in self._hits:
            self._hits[count] = self._known.ratio(self._room.likely, count)
        return self._hits[count]

    def _smallest(self) -> tuple[int | None, Limit]:
        """The number, and what asks for it; more than are enough are enough, too."""
        low, high = self._wanted.minimum - 1, self._wanted.minimum
        while lack := self._lack(high):
            if high >= MOST_INSTANCES:
                return None, lack
            low, high = high, min(high * 2, MOST_INSTANCES)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._lack(middle) else (low, middle)
        asking = self._lack(high - 1) if high > self._wanted.minimum else None
        return high, asking or "minimum"

    def _lack(self, count: int) -> Limit | None:
        """What so many instances have too little of."""
        hit = self._hit(count)
        if hit < self._wanted.hit_ratio:
            return "hit ratio"
        one = self._rate_of_one(hit)
        return "CPU" if one is not None and one * count < self._wanted.rate else None

    def _rate_of_one(self, hit: float) -> float | None:
        asked = self._measured.invocations
        if asked is None:
            return None
        kinds = self._measured.kinds.values()
        load = sum(k.load_cpu * k.archives for k in kinds) / sum(k.archives for k in kinds)
        return self._cpus / max(asked.cpu + (1 - hit) * load, 1e-9)
