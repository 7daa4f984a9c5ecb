"""What a check is, how it tells what it saw, and the list of all checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from mme_local.conformance.clauses import Clause

if TYPE_CHECKING:
    from mme_local.conformance.target import Target

Function = Callable[["Target"], str]
"""Returns what was seen where that is as it should be; raises `Seen` otherwise."""


class Status(StrEnum):
    """What came of a check."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    WARN = "warn"
    SKIPPED = "skipped"


class Seen(Exception):  # noqa: N818
    """Something else was seen than what was expected; the message says what."""

    status = Status.FAIL


class Doubtful(Seen):
    """Allowed by the contract, and not what one would want."""

    status = Status.WARN


class Unasked(Seen):
    """The question cannot be put to this target; the message says why."""

    status = Status.SKIPPED


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a container has to do."""

    id: str
    """Module and name, as ``management.load-twice``."""
    clause: Clause
    expected: str
    function: Function
    advisory: bool
    """Whether what fails is a warning: the contract does not ask for it."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a check saw."""

    check: Check
    status: Status
    seen: str
    seconds: float


CHECKS: Final[dict[str, Check]] = {}
"""All checks of the modules that were imported, by their ids; `run` has them in their order."""


def check(
    id: str, clause: Clause, expected: str, advisory: bool = False
) -> Callable[[Function], Function]:
    """Put a function into the list of checks."""

    def add(function: Function) -> Function:
        if id in CHECKS:
            raise ValueError(f"two checks are called {id}")
        CHECKS[id] = Check(id, clause, expected, function, advisory)
        return function

    return add


def expect(condition: bool, seen: str) -> None:
    """End the check, which fails with what was seen, unless `condition` holds."""
    if not condition:
        raise Seen(seen)
