"""Which share of requests finds its model loaded: by playing them, and by a formula."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

_BISECTIONS = 200


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the requests that were counted."""

    requests: int
    hits: int
    """Requests whose model was loaded already."""

    @property
    def ratio(self) -> float:
        """Hits for each request."""
        return self.hits / self.requests if self.requests else 1.0


class _Instance:
    """What one instance has loaded, the least recently used first."""

    def __init__(self, capacity: int, most: int) -> None:
        self.loaded: OrderedDict[int, int] = OrderedDict()
        self.free = capacity
        self._capacity = capacity
        self._most = most

    def load(self, model: int, cost: int) -> list[int] | None:
        """Load a model; the models that had to go, or None if it does not fit at all."""
        if cost > self._capacity:
            return None
        gone = []
        while self.free < cost or len(self.loaded) >= self._most:
            old, freed = self.loaded.popitem(last=False)
            self.free += freed
            gone.append(old)
        self.loaded[model] = cost
        self.free -= cost
        return gone


def play(
    trace: Sequence[int],
    costs: Sequence[int],
    capacity: int,
    *,
    instances: int = 1,
    most: int = 1 << 62,
    sticky: bool = True,
    warm: int = 0,
    seed: int = 0,
) -> Outcome:
    """Play requests, one after another, against instances that unload the least recently used.

    Args:
        trace: the model of each request.
        costs: bytes that each model takes, by its number.
        capacity: bytes for models on an instance.
        instances: how many there are.
        most: models at a time on an instance, at most.
        sticky: whether a request goes to an instance that has its model, if one has, as AWS
            documents it; otherwise to any. A model that none has is loaded by any.
        warm: requests at the beginning that are played and not counted.
        seed: of what is chosen by chance.
    """
    fleet = [_Instance(capacity, most) for _ in range(instances)]
    places: dict[int, int] = {}
    chance = random.Random(seed).random  # noqa: S311 - no secret
    hits = 0
    for number, model in enumerate(trace):
        at = places.get(model) if sticky else None
        if at is None:
            at = int(chance() * instances) if instances > 1 else 0
        loaded = fleet[at].loaded
        if model in loaded:
            loaded.move_to_end(model)
            hits += number >= warm
            continue
        gone = fleet[at].load(model, costs[model])
        if sticky and gone is not None:
            for old in gone:
                del places[old]
            places[model] = at
    return Outcome(max(len(trace) - warm, 0), hits)


def che(probabilities: Sequence[float], capacity: float) -> float:
    """The hit ratio of one instance that has room for `capacity` models of one size.

    By Che's approximation, for independent requests: https://doi.org/10.1109/JSAC.2002.801752
    """
    if capacity >= len(probabilities):
        return 1.0
    if capacity <= 0:
        return 0.0

    def loaded(age: float) -> float:
        return sum(1 - exp(-p * age) for p in probabilities)

    low, high = 0.0, 1.0
    while loaded(high) < capacity and high < 1e300:
        high *= 2
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if loaded(middle) < capacity else (low, middle)
        if high - low <= 1e-9 * high:
            break
    return sum(p * (1 - exp(-p * high)) for p in probabilities)
