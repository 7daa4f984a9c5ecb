"""Remove models: first their names, then their archives.

The alias file says meanwhile that a name is being removed, so that nobody counts on an archive that
is about to go. Killed half-way, the next run finds that, and goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Final

from mme_hosting.context import Context
from mme_hosting.errors import HostingError
from mme_hosting.models.aliases import Snapshot, change, read
from mme_hosting.models.listing import versions
from mme_hosting.models.table import Alias, Removal, State, now
from mme_training.archives.keys import SUFFIX

_BATCH: Final = 1000  # keys that DeleteObjects takes


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to go."""

    base: Snapshot
    keys: Mapping[str, Sequence[str]]
    """The archives of each name; a name that is half removed may have none any more."""
    absent: tuple[str, ...]
    """Names of which there is nothing."""


def look(context: Context, names: Sequence[str]) -> Plan:
    """Find what belongs to names.

    Raises:
        HostingError: it cannot be listed, or a name is a key.
    """
    for name in names:
        if name.endswith(SUFFIX):
            raise HostingError(
                f"{name} is a key and no name: mme models rm takes names, and "
                f"aws s3 rm {quote(str(context.models.below(name)))} deletes an archive that none "
                "stands for"
            )
    base = read(context)
    table = base.table
    keys = _keys(context, names)
    there = {
        name: each
        for name, each in keys.items()
        if each or name in table.models or table.is_going(name)
    }
    return Plan(base, there, tuple(name for name in keys if name not in there))


def remove(context: Context, plan: Plan) -> dict[str, str]:
    """Remove what is planned.

    Returns:
        The names that somebody else has changed meanwhile, which stay, with the reason.

    Raises:
        HostingError: a name cannot be removed, or an archive not be deleted.
    """
    going = {name: Removal(changed=now()) for name in plan.keys}
    lost = change(context, plan.base, going)
    marked = read(context)
    names = [name for name in going if name not in lost and marked.table.is_going(name)]
    # Listed again: an archive may have come before the name was marked.
    found = _keys(context, names)
    _delete(context, [key for keys in found.values() for key in keys])
    when = now()
    done: dict[str, State] = {name: Removal(changed=when, done=True) for name in names}
    forgotten = dict.fromkeys(marked.table.old_removals(when))
    change(context, marked, {**forgotten, **done})
    return {
        name: f"{name}: somebody else made {state.current} current meanwhile, and that stays: "
        f"mme models rm {quote(name)} again removes it"
        for name, state in lost.items()
        if isinstance(state, Alias)
    }


def _keys(context: Context, names: Sequence[str]) -> dict[str, list[str]]:
    found = versions(context, names)
    return {name: [archive.key for archive in each] for name, each in found.items()}


def _delete(context: Context, keys: Sequence[str]) -> None:
    root = context.models
    for at in range(0, len(keys), _BATCH):
        objects = [{"Key": root.key + key} for key in keys[at : at + _BATCH]]
        answer = context.aws.call(
            "s3",
            "DeleteObjects",
            str(root),
            Bucket=root.bucket,
            Delete={"Objects": objects, "Quiet": True},
        )
        if errors := answer.get("Errors"):
            first = errors[0]
            raise HostingError(
                f"{len(errors)} archives are not deleted, the first s3://{root.bucket}/"
                f"{first['Key']}: {first.get('Message')} ({first.get('Code')}). Allow your user or "
                "role s3:DeleteObject on them; the same command goes on"
            )
