"""Make an earlier version of a model current again.

Every version has a key of its own, so that no instance needs to drop anything, and the endpoint no
update: the next request that goes by the name asks for another key.
"""

from __future__ import annotations

from dataclasses import dataclass
from shlex import quote

from mme_hosting.context import Context
from mme_hosting.errors import HostingError
from mme_hosting.models.aliases import Snapshot, change, read, unknown
from mme_hosting.models.listing import versions
from mme_hosting.models.table import Alias, now
from mme_training.archives.keys import SUFFIX, parse


@dataclass(frozen=True, slots=True)
class Step:
    """From one key of a name to another; equal if there is nothing to do."""

    base: Snapshot
    name: str
    before: str
    after: str


def look(context: Context, name: str, to: str | None = None) -> Step:
    """Find what to go back to.

    Args:
        context: the endpoint.
        name: of the model.
        to: number of a version, or its key; by default what was current before.

    Raises:
        HostingError: there is no such name or version, or its archive is gone.
    """
    base = read(context)
    alias = base.table.models.get(name)
    if alias is None:
        raise unknown(context, name, base.table.models)
    key = _target(context, name, alias, to)
    place = context.models.below(key)
    if not context.aws.find("s3", "HeadObject", str(place), Bucket=place.bucket, Key=place.key):
        raise HostingError(f"{place} is gone, and {name} stays {alias.current}: {_shows(name)}")
    return Step(base, name, alias.current, key)


def roll_back(context: Context, step: Step) -> None:
    """Make it current.

    Raises:
        HostingError: somebody else changed the name meanwhile, and theirs stays; or it cannot be
            written.
    """
    alias = step.base.table.models[step.name]
    if step.after == alias.current:
        return
    lost = change(context, step.base, {step.name: alias.rolled_back(step.after, now())})
    if step.name in lost:
        theirs = lost[step.name]
        what = f"made {theirs.current} current" if isinstance(theirs, Alias) else "removed it"
        raise HostingError(
            f"{step.name}: somebody else {what} meanwhile, and that stays: look with mme models ls "
            f"{quote(step.name)}, and run it again if need be"
        )


def _target(context: Context, name: str, alias: Alias, to: str | None) -> str:
    if to is None:
        if not alias.previous:
            raise HostingError(f"nothing was current before {alias.current}: {_shows(name)}")
        return alias.previous[0]
    if to.endswith(SUFFIX):
        version = parse(to)
        if version is None or version.style != "digest" or version.name != name:
            raise HostingError(
                f"{to} is no version of {name}: those are {name}/NUMBER-DIGEST.tar.gz"
            )
        return to
    there = versions(context, [name])[name]
    found = [each.key for each in there if each.version and str(each.version.number) == to]
    if len(found) > 1:
        choice = " or ".join(f"--to {key}" for key in found)
        raise HostingError(f"{name} has more than one version {to}: give {choice}")
    if not found:
        numbers = [str(each.version.number) for each in there if each.version]
        raise HostingError(f"{name} has no version {to}: there are {', '.join(numbers) or 'none'}")
    return found[0]


def _shows(name: str) -> str:
    return f"mme models ls --versions {quote(name)} shows what there is for --to"
