"""IAM's roles, users, groups and policies, saved and put back, by IAM's own API.

Kept are their names, paths, policies and memberships, and of a policy its version in force. Not
kept: access keys and passwords, which no API gives out; a user makes new keys.
"""

from __future__ import annotations

import json
from typing import Any, Final

from botocore.exceptions import ClientError

_KINDS: Final = ("LocalManagedPolicy", "Group", "Role", "User")


class Identities:
    """IAM.

    Args:
        iam: client.
    """

    def __init__(self, iam: Any) -> None:
        self._iam = iam

    def save(self) -> dict[str, Any]:
        """All that is kept, as JSON can hold it."""
        found: dict[str, Any] = {"policies": [], "groups": [], "roles": [], "users": []}
        pages = self._iam.get_paginator("get_account_authorization_details").paginate(
            Filter=list(_KINDS)
        )
        for page in pages:
            found["policies"] += map(_policy, page["Policies"])
            for kind in ("Group", "Role", "User"):
                details = page[f"{kind}DetailList"]
                found[f"{kind.lower()}s"] += [_principal(kind, each) for each in details]
        return found

    def restore(self, saved: dict[str, Any]) -> None:
        """Make what was saved."""
        for policy in saved["policies"]:
            self._iam.create_policy(**policy)
        for kind in ("group", "role", "user"):
            for principal in saved[f"{kind}s"]:
                self._create(kind, principal)

    def _create(self, kind: str, principal: dict[str, Any]) -> None:
        member = f"{kind.capitalize()}Name"
        named = {member: principal["create"][member]}
        getattr(self._iam, f"create_{kind}")(**principal["create"])
        for name, document in principal["inline"].items():
            getattr(self._iam, f"put_{kind}_policy")(
                **named, PolicyName=name, PolicyDocument=document
            )
        for arn in principal["attached"]:
            try:
                getattr(self._iam, f"attach_{kind}_policy")(**named, PolicyArn=arn)
            except ClientError as error:  # AWS's own policies come and go with moto's version
                if error.response["Error"]["Code"] != "NoSuchEntity":
                    raise
        for group in principal["groups"]:
            self._iam.add_user_to_group(GroupName=group, **named)


def _policy(found: dict[str, Any]) -> dict[str, Any]:
    document = next(each for each in found["PolicyVersionList"] if each["IsDefaultVersion"])
    return {
        "PolicyName": found.get("PolicyName") or found["Arn"].rpartition("/")[2],
        "Path": found["Path"],
        "PolicyDocument": json.dumps(document["Document"]),
        "Description": found.get("Description", ""),
    }


def _principal(kind: str, found: dict[str, Any]) -> dict[str, Any]:
    """A group, role or user: what creates it, its policies, its groups."""
    create = {f"{kind}Name": found[f"{kind}Name"], "Path": found["Path"]}
    if kind == "Role":
        create["AssumeRolePolicyDocument"] = json.dumps(found["AssumeRolePolicyDocument"])
        create["Tags"] = found.get("Tags", [])
    inline = {each["PolicyName"]: each["PolicyDocument"] for each in found[f"{kind}PolicyList"]}
    return {
        "create": create,
        "inline": {name: json.dumps(document) for name, document in inline.items()},
        "attached": [each["PolicyArn"] for each in found["AttachedManagedPolicies"]],
        "groups": found.get("GroupList", []),
    }
