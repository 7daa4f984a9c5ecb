"""Runs checks one after the other; none stops another."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final

from docker.errors import DockerException

from mme_local.conformance import (
    concurrency,
    image,
    invocation,
    management,
    memory,
    signals,
    start,
)
from mme_local.conformance.registry import CHECKS, Check, Result, Seen, Status
from mme_local.conformance.target import Target

MODULES: Final = (image, start, management, invocation, concurrency, memory, signals)
"""In the order in which their checks run."""


def select(wanted: Sequence[str]) -> list[Check]:
    """The checks of these ids or modules, in the order in which they run; all if there are none.

    Raises:
        ValueError: no check is called so.
    """
    order = [module.__name__ for module in MODULES]
    checks = sorted(CHECKS.values(), key=lambda each: order.index(each.function.__module__))
    for name in wanted:
        if not any(_is(each, name) for each in checks):
            raise ValueError(f"there is no check {name}: --list names them all")
    return [each for each in checks if not wanted or any(_is(each, name) for name in wanted)]


def run(target: Target, checks: Sequence[Check]) -> Iterator[Result]:
    """Put the checks to the target; each result comes when it is there."""
    for each in checks:
        started = time.monotonic()
        status, seen = _outcome(target, each)
        yield Result(each, status, seen, time.monotonic() - started)


def _outcome(target: Target, check: Check) -> tuple[Status, str]:
    try:
        return Status.PASS, check.function(target)
    except Seen as error:
        advised = check.advisory and error.status is Status.FAIL
        return Status.WARN if advised else error.status, str(error)
    except DockerException as error:
        return Status.FAIL, f"the Docker engine: {error}"
    except Exception as error:  # a mistake of the suite: told, and the next check runs
        return Status.FAIL, f"this check is broken: {type(error).__name__}: {error}"


def _is(check: Check, name: str) -> bool:
    return check.id == name or check.id.startswith(f"{name}.")
