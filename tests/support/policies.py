"""What IAM would say of a policy: its grammar, and AWS's table of actions, resources and keys."""

from __future__ import annotations

import json
import warnings
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it imports pkg_resources
    import parliament

# It holds for all operations on a key, and the table names it for none of them:
# https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html
_NOT_IN_THE_TABLE = "UNKNOWN_CONDITION_FOR_ACTION Unknown condition kms:ResourceAliases for "


def findings(policy: dict[str, Any]) -> list[str]:
    """What is wrong with a policy for a user, a group or a role.

    Unknown actions, resources that no action of the statement takes, condition keys and operators
    that do not fit.
    """
    found = parliament.analyze_policy_string(json.dumps(policy)).findings
    said = [f"{each.issue} {each.detail} {each.location}" for each in found]
    return [each for each in said if not each.startswith(_NOT_IN_THE_TABLE)]


def actions(policy: dict[str, Any]) -> set[str]:
    """All that a policy allows."""
    return {action for statement in policy["Statement"] for action in statement["Action"]}


def statement(policy: dict[str, Any], sid: str) -> dict[str, Any]:
    """One statement of a policy."""
    return next(each for each in policy["Statement"] if each["Sid"] == sid)
