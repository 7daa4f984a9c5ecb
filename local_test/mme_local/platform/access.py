"""Who may invoke which endpoint, and which of its models: IAM, as far as it is about that.

A caller is known by the access key that signed the request; signatures are not checked. Its user's
or role's policies are looked up in IAM and evaluated here, ``sagemaker:TargetModel`` included:
https://docs.aws.amazon.com/sagemaker/latest/dg/multi-model-endpoint-security.html
An access key that IAM does not know is the account's root: then all is allowed.

Of policies, inline and managed ones count, of a user's groups too; permissions boundaries, session
policies and those of an organisation do not.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote

import boto3
from botocore.config import Config

from mme_local.aws.clients import Clients
from mme_local.control.records import Invocation
from mme_local.errors import ApiError
from mme_local.platform.policies import decide
from mme_local.settings import ACCOUNT

_ACTION: Final = "sagemaker:InvokeEndpoint"
_KEEP_SECONDS: Final = 1.0
"""That a caller's policies are kept: what is taken away still counts so long; a refusal is never
made of policies that were kept. IAM itself takes seconds."""
_MOST_KEPT: Final = 1000


@dataclass(frozen=True)
class Caller:
    """Who signed a request, and what policies say of it."""

    arn: str
    policies: tuple[Mapping[str, Any], ...] | None
    """None for the root of the account."""


class Access:
    """Checks invocations; used on the event loop, asks IAM on threads."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._known: dict[str, tuple[float, Caller]] = {}
        self._arns: dict[str, str] = {}
        self._looking: dict[str, asyncio.Future[Caller]] = {}

    async def check(self, invocation: Invocation) -> None:
        """Let an invocation pass, or not.

        Raises:
            ApiError: ``AccessDeniedException`` (403).
        """
        key = invocation.caller_access_key
        if key is None:
            return
        known = self._known.get(key)
        if known and time.monotonic() < known[0] and self._decide(known[1], invocation) == "allow":
            return
        caller = await self._ask(key)
        if len(self._known) >= _MOST_KEPT:
            self._known.clear()
            self._arns.clear()
        keep = _KEEP_SECONDS if caller.policies is not None else float("inf")
        self._known[key] = (time.monotonic() + keep, caller)
        decision = self._decide(caller, invocation)
        if decision != "allow":
            raise _denied(caller.arn, self._resource(invocation), explicit=decision == "deny")

    async def _ask(self, key: str) -> Caller:
        """Look a caller up, once for all requests that wait for it."""
        looking = self._looking.get(key)
        if looking is None:
            looking = asyncio.ensure_future(asyncio.to_thread(self._look_up, key))
            self._looking[key] = looking
            looking.add_done_callback(lambda _: self._looking.pop(key, None))
        return await asyncio.shield(looking)

    def _look_up(self, key: str) -> Caller:
        """Who has an access key, and all policies of that user or role; blocks."""
        # An access key never goes to another owner.
        arn = self._arns.get(key) or self._arns.setdefault(key, _identity(self._clients, key))
        kind, _, name = arn.rpartition(":")[2].partition("/")
        iam = self._clients.client("iam")
        try:
            if kind == "assumed-role":
                return Caller(arn, tuple(_of_role(iam, name.partition("/")[0])))
            if kind == "user" and ":iam:" in arn:
                return Caller(arn, tuple(_of_user(iam, name.rpartition("/")[2])))
        except iam.exceptions.NoSuchEntityException:  # it has been deleted
            return Caller(arn, ())
        return Caller(f"arn:aws:iam::{ACCOUNT}:root", None)

    def _decide(self, caller: Caller, invocation: Invocation) -> str:
        if caller.policies is None:
            return "allow"
        context = {"aws:principalarn": caller.arn, "aws:requestedregion": self._clients.region}
        if invocation.target_model is not None:
            context["sagemaker:targetmodel"] = invocation.target_model
        return decide(caller.policies, _ACTION, self._resource(invocation), context)

    def _resource(self, invocation: Invocation) -> str:
        # AWS has endpoints' names in lower case in ARNs.
        name = invocation.endpoint.lower()
        return f"arn:aws:sagemaker:{self._clients.region}:{ACCOUNT}:endpoint/{name}"


def _denied(caller: str, resource: str, explicit: bool) -> ApiError:
    why = (
        "with an explicit deny in an identity-based policy"
        if explicit
        else f"because no identity-based policy allows the {_ACTION} action"
    )
    return ApiError(
        "AccessDeniedException",
        f"User: {caller} is not authorized to perform: {_ACTION} on resource: {resource} {why}",
        HTTPStatus.FORBIDDEN,
    )


def _identity(clients: Clients, key: str) -> str:
    """The ARN that STS has for an access key; of one that it does not know it makes one up."""
    session = boto3.session.Session(
        aws_access_key_id=key,
        aws_secret_access_key="any",  # noqa: S106 - moto takes any
        region_name=clients.region,
    )
    sts = session.client("sts", endpoint_url=clients.endpoint, config=Config(proxies={}))
    return str(sts.get_caller_identity()["Arn"])


def _of_user(iam: Any, user: str) -> list[Mapping[str, Any]]:
    policies = _attached(iam, iam.list_attached_user_policies(UserName=user))
    for name in iam.list_user_policies(UserName=user)["PolicyNames"]:
        policies.append(_document(iam.get_user_policy(UserName=user, PolicyName=name)))
    for group in iam.list_groups_for_user(UserName=user)["Groups"]:
        of = group["GroupName"]
        policies += _attached(iam, iam.list_attached_group_policies(GroupName=of))
        for name in iam.list_group_policies(GroupName=of)["PolicyNames"]:
            policies.append(_document(iam.get_group_policy(GroupName=of, PolicyName=name)))
    return policies


def _of_role(iam: Any, role: str) -> list[Mapping[str, Any]]:
    policies = _attached(iam, iam.list_attached_role_policies(RoleName=role))
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        policies.append(_document(iam.get_role_policy(RoleName=role, PolicyName=name)))
    return policies


def _attached(iam: Any, listed: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    documents = []
    for policy in listed["AttachedPolicies"]:
        arn = policy["PolicyArn"]
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        found = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]
        documents.append(_parsed(found["Document"]))
    return documents


def _document(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    return _parsed(answer["PolicyDocument"])


def _parsed(document: Any) -> Mapping[str, Any]:
    """A policy's document, which botocore has decoded already, or not."""
    if isinstance(document, str):
        document = json.loads(unquote(document))
    return dict(document)
