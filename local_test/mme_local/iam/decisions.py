"""What IAM is asked about a request, who asks, and the words of a refusal.

https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mme_local.iam.policies import Context, decide
from mme_local.settings import ACCOUNT


@dataclass(frozen=True, slots=True)
class Ask:
    """One thing that a request needs to be allowed."""

    action: str
    """As ``s3:GetObject``."""
    resource: str = "*"
    """An ARN; ``*`` for what is about no resource, or none that is known here."""
    context: Context = field(default_factory=dict)
    """Condition keys of the request, in lower case."""


@dataclass(frozen=True)
class Caller:
    """Who signed a request, and what policies say of it."""

    arn: str
    """As messages name it: for a role that was assumed, the session."""
    policies: tuple[Mapping[str, Any], ...] | None
    """None for the root of the account, which may do everything."""
    context: Context = field(default_factory=dict)
    """Condition keys of the caller, in lower case."""


ROOT = Caller(f"arn:aws:iam::{ACCOUNT}:root", None)


def user(arn: str, policies: Iterable[Mapping[str, Any]]) -> Caller:
    """A user of IAM."""
    return Caller(arn, tuple(policies), {**_principal(arn), "aws:username": arn.rpartition("/")[2]})


def session(arn: str, role: str, policies: Iterable[Mapping[str, Any]]) -> Caller:
    """A session of an assumed role, whose own ARN is `role`: conditions are about that."""
    return Caller(arn, tuple(policies), _principal(role))


def refusal(caller: Caller, asked: Iterable[Ask], region: str) -> str | None:
    """Why a caller may not do all that is asked, in AWS's words; None if it may."""
    if caller.policies is None:
        return None
    for ask in asked:
        context = {
            "aws:requestedregion": region,
            "aws:resourceaccount": ACCOUNT,
            **caller.context,
            **ask.context,
        }
        decision = decide(caller.policies, ask.action, ask.resource, context)
        if decision != "allow":
            why = (
                "with an explicit deny in an identity-based policy"
                if decision == "deny"
                else f"because no identity-based policy allows the {ask.action} action"
            )
            resource = f'"{ask.resource}"' if ask.action.startswith("s3:") else ask.resource
            return (
                f"User: {caller.arn} is not authorized to perform: {ask.action} on resource: "
                f"{resource} {why}"
            )
    return None


def _principal(arn: str) -> dict[str, str]:
    return {"aws:principalarn": arn, "aws:principalaccount": ACCOUNT}
