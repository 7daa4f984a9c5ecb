"""Which loaded models go when there is no room for another; nothing is done here.

The choice depends on the order of requests alone, not on the clock: the same requests in the same
order give the same evictions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Candidate:
    """A model that is loaded."""

    target: str
    last_used: int
    """Number of the request that used it last; they are counted by instance."""
    uses: int
    """Requests that used it since it was loaded."""
    idle: bool
    """Whether no request is under way for it, or waits for it."""


def victims(
    loaded: Iterable[Candidate], count: int, order: Literal["lru", "lfu"] = "lru"
) -> list[str]:
    """The target models to unload, first to go first; fewer than `count` if fewer are idle.

    Args:
        loaded: all models that are loaded.
        count: how many are to go.
        order: ``lru`` the least recently used, ``lfu`` the least frequently, of those with equal
            counts the least recently.
    """
    idle = [model for model in loaded if model.idle]
    if order == "lru":
        idle.sort(key=lambda model: (model.last_used, model.target))
    else:
        idle.sort(key=lambda model: (model.uses, model.last_used, model.target))
    return [model.target for model in idle[:count]]
