"""Add models, and update them: inspected, uploaded many at once, and made current by one write.

Nothing is current before it is uploaded, and what was current stays where it is: an instance that
has it loaded goes on, and a rollback finds it. Killed half-way, the next run uploads what is not
there yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Final, Literal

from mme_hosting.context import Context
from mme_hosting.errors import HostingError, RefusedError
from mme_hosting.models.aliases import Snapshot, change, encryption, read, unknown
from mme_hosting.models.listing import Archive, versions
from mme_hosting.models.table import Alias, State, now
from mme_training.archives.assemble import SUFFIXES, digest
from mme_training.archives.inspection import inspect_archive
from mme_training.archives.keys import Version, check_name, parse
from mme_training.archives.pack import ArchiveError
from mme_training.archives.upload import Uploaded, upload
from mme_training.errors import UserError

Verb = Literal["add", "update"]
Status = Literal["added", "updated", "present", "restored", "refused", "failed", "lost"]

BAD: Final[frozenset[Status]] = frozenset({"refused", "failed", "lost"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one archive.

    ``present`` was current already, ``restored`` too, but its object was gone; ``refused`` is not
    uploaded, ``failed`` is not current, and with ``lost`` somebody else's became current meanwhile.
    """

    name: str
    path: Path
    status: Status
    key: str | None = None
    size: int = 0
    """Bytes."""
    error: str | None = None


def publish(
    context: Context,
    verb: Verb,
    found: Mapping[str, Path],
    *,
    on_inspected: Callable[[], None] = lambda: None,
    on_uploaded: Callable[[], None] = lambda: None,
) -> list[Outcome]:
    """Upload archives, and make them current.

    Args:
        context: the endpoint.
        verb: ``add`` for names that are not there, ``update`` for those that are.
        found: the archives, by the model's name.
        on_inspected: called after each archive that was looked into.
        on_uploaded: called after each that was sent.

    Returns:
        An outcome for each, in their order: the others go on where one is refused or fails.

    Raises:
        UserError: a name cannot be one of a model.
        RefusedError: what is there cannot be read or listed.
        HostingError: nothing can be made current.
    """
    for name in found:
        check(name)
    try:
        base, there = read(context), versions(context, found)
    except HostingError as error:
        raise RefusedError(str(error)) from None
    outcomes: dict[str, Outcome] = {}
    latest: dict[str, Version] = {}
    for name, path in found.items():
        try:
            version = _admit(context, verb, base, name, path, there[name])
            if version:
                latest[name] = version
        except (ArchiveError, HostingError, UserError) as error:
            outcomes[name] = Outcome(name, path, "refused", error=str(error))
        except OSError as error:
            reason = f"{path} cannot be read: {error.strerror}"
            outcomes[name] = Outcome(name, path, "refused", error=reason)
        on_inspected()
    sent = upload(
        {name: path for name, path in found.items() if name not in outcomes},
        str(context.models),
        style="digest",
        latest=latest,
        client=context.aws.client("s3"),
        encryption=encryption(context),
        on_done=lambda _: on_uploaded(),
    )
    outcomes |= _make_current(context, base, sent)
    return [outcomes[name] for name in found]


def check(name: str) -> None:
    """Refuse a name that cannot be one of a model.

    Raises:
        UserError: it is none, or would be taken for a key.
    """
    check_name(name, folders=True)
    if name.endswith(SUFFIXES):
        raise UserError(f"{name} would be taken for a key: leave out its end, .tar.gz")


def _admit(
    context: Context,
    verb: Verb,
    base: Snapshot,
    name: str,
    path: Path,
    there: Sequence[Archive],
) -> Version | None:
    """The version that the archive has already, or follows; raises what speaks against it."""
    alias = base.table.models.get(name)
    if base.table.is_going(name):
        raise HostingError(f"{name} is being removed: mme models rm {quote(name)} finishes that")
    if verb == "update" and alias is None:
        error = unknown(context, name, base.table.models)
        raise HostingError(f"{error} (a new model is for mme models add)")
    if path.exists() and not path.is_file():  # a pipe has no end
        raise UserError(f"{path} is no file")
    sha256 = digest(path)
    current = parse(alias.current) if alias else None
    if current and _has(current, sha256):
        return current
    if verb == "add" and alias:
        raise HostingError(
            f"{name} is there with other content: mme models update --name {quote(name)} "
            f"{quote(str(path))}"
        )
    inspection = inspect_archive(path)
    if not inspection.loads:
        reasons = "; ".join(str(each) for each in inspection.problems if each.refused)
        raise UserError(f"{path}: no server would load it: {reasons}")
    known = [archive.version for archive in there if archive.version]
    same = (version for version in known if _has(version, sha256))
    return next(same, known[0] if known else None)


def _has(version: Version, sha256: str) -> bool:
    return version.digest is not None and sha256.startswith(version.digest)


def _make_current(context: Context, base: Snapshot, sent: list[Uploaded]) -> dict[str, Outcome]:
    root = context.models.key
    keys = {each.name: each.place.key.removeprefix(root) for each in sent if each.place}
    when, wanted = now(), dict[str, State]()
    for name, key in keys.items():
        alias = base.table.models.get(name)
        wanted[name] = alias.updated(key, when) if alias else Alias(current=key, changed=when)
    lost = change(context, base, wanted)
    return {
        each.name: _outcome(base.table.models.get(each.name), each, keys.get(each.name), lost)
        for each in sent
    }


def _outcome(
    before: Alias | None, sent: Uploaded, key: str | None, lost: Mapping[str, State]
) -> Outcome:
    name, path, size = sent.name, sent.path, sent.size
    if key is None:
        return Outcome(name, path, "failed", error=sent.error)
    if name in lost:
        return Outcome(name, path, "lost", key, size, _lost(name, key, lost[name], path))
    if before is None:
        return Outcome(name, path, "added", key, size)
    if before.current != key:
        return Outcome(name, path, "updated", key, size)
    return Outcome(name, path, "present" if sent.status == "present" else "restored", key, size)


def _lost(name: str, key: str, theirs: State, path: Path) -> str:
    if isinstance(theirs, Alias):
        return (
            f"{name}: somebody else made {theirs.current} current meanwhile, and that stays; yours "
            f"is uploaded, and not current: mme models rollback {quote(name)} --to {quote(key)} "
            "makes it so"
        )
    return (
        f"{name}: somebody else removed it meanwhile, and it stays so: "
        f"mme models add --name {quote(name)} {quote(str(path))} uploads it again"
    )
