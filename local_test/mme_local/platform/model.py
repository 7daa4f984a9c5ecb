"""What is known of a model in a container, and whose it is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field


@dataclass(eq=False)
class Model:
    """A target model that requests have named."""

    target: str
    name: str
    """What the container calls it."""
    loaded: bool = False
    bytes: int = 0
    since: float = 0.0
    last_used: int = 0
    last_used_at: float = 0.0
    uses: int = 0
    users: int = 0
    """Requests under way, and those that wait for it."""
    loading: asyncio.Task[None] | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while it is loaded or unloaded."""


@dataclass(frozen=True)
class Owner:
    """Whose models they are, for errors and events."""

    endpoint: str
    variant: str
    instance: str
    region: str
