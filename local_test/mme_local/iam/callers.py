"""Who has an access key, and which policies that user or role has: IAM's own API is asked.

An access key that IAM does not know is the account's root: then all is allowed. Of policies, inline
and managed ones count, of a user's groups too; permissions boundaries, session policies and those
of resources and of an organisation do not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import boto3
from botocore.config import Config

from mme_local.aws.clients import Clients
from mme_local.iam.decisions import ROOT, Caller, session, user


def look_up(clients: Clients, arn: str) -> Caller:
    """A user or a session of a role by the ARN that STS has for it; blocks."""
    kind, _, name = arn.rpartition(":")[2].partition("/")
    iam = clients.client("iam")
    try:
        if kind == "assumed-role":
            role = name.partition("/")[0]
            return session(arn, iam.get_role(RoleName=role)["Role"]["Arn"], _of_role(iam, role))
        if kind == "user" and ":iam:" in arn:
            return user(arn, _of_user(iam, name.rpartition("/")[2]))
    except iam.exceptions.NoSuchEntityException:  # it has been deleted
        return Caller(arn, ())
    return ROOT


def identity(clients: Clients, key: str) -> str:
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
