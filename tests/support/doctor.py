"""Setups for the doctor's checks, and AWS's answers that moto does not have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mme_hosting.doctor.findings import Finding
from mme_hosting.doctor.setup import Setup
from mme_hosting.settings import Deployment
from support.aws import ROLE

Check = Callable[[Setup], Iterator[Finding]]


def setup(*, local: bool = False, training: bool = False, **settings: Any) -> Setup:
    """An endpoint in the AWS that the environment leads to."""
    deployment = Deployment(**{"name": "houses", "role": ROLE, **settings})
    return Setup(deployment, local=local, training=training)


def findings(check: Check, of: Setup) -> list[tuple[str, str]]:
    """What a check finds: each status, and its text with what mends it."""
    return [(each.status, f"{each.text} | {each.fix}") for each in check(of)]


def one(check: Check, of: Setup) -> tuple[str, str]:
    """The only thing that a check finds."""
    (found,) = findings(check, of)
    return found
