"""Which instance answers a request."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol, TypeVar


class Routable(Protocol):
    """What is to be known of an instance."""

    in_flight: int
    """Requests under way."""

    def load_of(self, target: str) -> int | None:
        """Requests under way for a model; None if it is not there."""


T = TypeVar("T", bound=Routable)


def pick(instances: Sequence[T], target: str | None, spill: int, chance: random.Random) -> T:
    """Choose one of `instances`, of which there is at least one.

    An instance that has the model comes first, as AWS documents it; with `spill` or more requests
    under way for the model there, one that does not have it, if it has less to do.

    Args:
        instances: those that take requests.
        target: the target model; None where there is but one model.
        spill: requests for one model on one instance that are enough.
        chance: decides among equals.
    """
    if target is None:
        return _least(instances, chance)
    loads = [(instance, instance.load_of(target)) for instance in instances]
    having = [(load, instance) for instance, load in loads if load is not None]
    if not having:
        return _least(instances, chance)
    fewest = min(load for load, _ in having)
    best = _least([instance for load, instance in having if load == fewest], chance)
    others = [instance for instance, load in loads if load is None]
    if fewest >= spill and others:
        other = _least(others, chance)
        if other.in_flight < best.in_flight:
            return other
    return best


def _least(instances: Sequence[T], chance: random.Random) -> T:
    if len(instances) == 1:
        return instances[0]
    fewest = min(instance.in_flight for instance in instances)
    return chance.choice([instance for instance in instances if instance.in_flight == fewest])
