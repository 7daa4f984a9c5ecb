"""Which archive a model's name stands for: the content of the alias file, and how changes meet.

Keys are relative to the endpoint's prefix, as InvokeEndpoint takes them for its target model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

KEPT: Final = 10
"""Previous versions that an alias knows; older archives stay, and are found by their keys."""

_REMEMBERED: Final = timedelta(days=1)  # longer than any command runs


class _Entry(BaseModel):
    # What is not known here would be lost with the next change.
    model_config = ConfigDict(frozen=True, extra="forbid")

    changed: AwareDatetime
    """When, in UTC."""


class Alias(_Entry):
    """What a name stands for."""

    current: str
    """Key."""
    previous: tuple[str, ...] = ()
    """Keys that were current before, the newest first."""

    def updated(self, key: str, when: datetime) -> Alias:
        """With `key` as a newer version than the current one."""
        before = (self.current, *(each for each in self.previous if each != key))
        return Alias(current=key, previous=before[:KEPT], changed=when)

    def rolled_back(self, key: str, when: datetime) -> Alias:
        """With `key` as it was; what came after it is no longer previous to anything."""
        if key not in self.previous:
            return self.updated(key, when)
        after = self.previous.index(key) + 1
        return Alias(current=key, previous=self.previous[after:], changed=when)


class Removal(_Entry):
    """That a name was removed.

    Until it is `done`, archives of the name are deleted, and nobody may count on one. Afterwards it
    tells whoever has begun before that what they saw may be gone.
    """

    done: bool = False


State = Alias | Removal | None


class Table(BaseModel):
    """All names of an endpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    models: dict[str, Alias] = {}
    removed: dict[str, Removal] = {}

    def state(self, name: str) -> State:
        """What is known of a name."""
        return self.models.get(name) or self.removed.get(name)

    def is_going(self, name: str) -> bool:
        """Whether archives of a name are being deleted."""
        removal = self.removed.get(name)
        return removal is not None and not removal.done

    def old_removals(self, when: datetime) -> Iterable[str]:
        """Names whose removal nobody can be in the middle of."""
        for name, removal in self.removed.items():
            if removal.done and when - removal.changed > _REMEMBERED:
                yield name


def merge(
    base: Table, found: Table, changes: Mapping[str, State]
) -> tuple[Table, dict[str, State]]:
    """Apply changes that were decided on `base` to the table as it is found now.

    Returns:
        The new table, and the names that somebody else has changed otherwise meanwhile with what
        they are now: theirs stays.
    """
    models, removed = dict(found.models), dict(found.removed)
    lost: dict[str, State] = {}
    for name, wanted in changes.items():
        there = found.state(name)
        if _agree(there, wanted):
            continue
        if there != base.state(name):
            lost[name] = there
            continue
        models.pop(name, None)
        removed.pop(name, None)
        if isinstance(wanted, Alias):
            models[name] = wanted
        elif wanted:
            removed[name] = wanted
    return Table(models=models, removed=removed), lost


def now() -> datetime:
    """The time for an entry, which also tells two of them apart."""
    return datetime.now(UTC)


def _agree(there: State, wanted: State) -> bool:
    """Whether it is as wanted, whoever did it: also ourselves, by a request without an answer."""
    if isinstance(there, Alias) and isinstance(wanted, Alias):
        return there.current == wanted.current
    if isinstance(there, Removal) and isinstance(wanted, Removal):
        return there.done == wanted.done
    return there is wanted
