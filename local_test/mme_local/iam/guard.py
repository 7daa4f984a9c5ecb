"""IAM before moto: what a caller's policies do not allow does not reach the services.

Runs in moto's process, whose IAM it reads. A caller whose access key IAM does not know is the
account's root, which may do everything: it costs a look into a dictionary.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from moto.iam.models import Group, IAMBackend, Role, User, iam_backends
from moto.s3.models import s3_backends
from moto.sts.models import sts_backends

from mme_local.iam import s3, services
from mme_local.iam.decisions import Ask, Caller, refusal, session, user
from mme_local.iam.requests import Signer, operation, signer
from mme_local.settings import ACCOUNT

_PARTITION: Final = "aws"
_ALWAYS: Final = "sts:GetCallerIdentity"


def refused(environ: dict[str, Any]) -> str | None:
    """Why a request may not be answered, in AWS's words; None if it may."""
    signed = signer(environ)
    if signed is None or signed.key not in backend().access_keys:
        return None
    return refusal(_caller(signed.key), _asks(signed, environ), signed.region)


def backend() -> IAMBackend:
    """moto's IAM of the one account."""
    return iam_backends[ACCOUNT][_PARTITION]


def policies(of: User | Group | Role) -> list[Mapping[str, Any]]:
    """The policies of a user, with those of its groups, of a group or of a role.

    Args:
        of: moto's.
    """
    attached = (
        version.document
        for policy in of.managed_policies.values()
        for version in policy.versions
        if version.version_id == policy.default_version_id
    )
    found = [_parsed(document) for document in (*of.policies.values(), *attached)]
    if isinstance(of, User):
        for group in backend().get_groups_for_user(of.name):
            found += policies(group)
    return found


def _asks(signed: Signer, environ: dict[str, Any]) -> Iterable[Ask]:
    if signed.service == "s3":
        return s3.asks(environ, _exists)
    asked = operation(environ)
    if asked is None:
        return [Ask(f"{signed.prefix}:an operation that is not known here")]
    if f"{signed.prefix}:{asked.name}" == _ALWAYS:
        return []
    return services.asks(signed.prefix, signed.region, asked, _arn)


def _caller(key: str) -> Caller:
    """Who has an access key that IAM knows."""
    found = backend().access_keys[key]
    if found.user_name is not None:
        owner = backend().users.get(found.user_name)
        return user(_arn("user", found.user_name), policies(owner) if owner else ())
    assumed = sts_backends[ACCOUNT][_PARTITION].get_assumed_role_from_access_key(key)
    if assumed is None:
        return Caller(key, ())
    roles = (role for role in backend().get_roles() if role.arn == assumed.role_arn)
    role = next(roles, None)
    return session(assumed.arn, assumed.role_arn, policies(role) if role else ())


def _arn(kind: str, name: str) -> str:
    """The ARN of a user, a group or a role, with the path that it was made with."""
    of: Mapping[str, Iterable[Any]] = {
        "user": backend().users.values(),
        "group": backend().groups.values(),
        "role": backend().get_roles(),
    }
    plain = f"arn:aws:iam::{ACCOUNT}:{kind}/{name}"
    return next((str(each.arn) for each in of[kind] if each.name == name), plain)


def _exists(bucket: str, key: str) -> bool:
    held = s3_backends[ACCOUNT][_PARTITION].buckets.get(bucket)
    return held is not None and key in held.keys


@lru_cache(maxsize=1000)
def _parsed(document: str) -> Mapping[str, Any]:
    parsed: Mapping[str, Any] = json.loads(document)
    return parsed
