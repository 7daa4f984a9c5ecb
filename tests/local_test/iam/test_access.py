from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from mme_local.aws.clients import Clients
from mme_local.errors import ApiError
from mme_local.iam.access import Access
from support.local_platform import REGION, invocation

pytestmark = pytest.mark.anyio

ARN = f"arn:aws:sagemaker:{REGION}:123456789012:endpoint/houses"


def policy(*targets: str, effect: str = "Allow") -> str:
    statement: dict[str, Any] = {
        "Effect": effect,
        "Action": "sagemaker:InvokeEndpoint",
        "Resource": ARN,
    }
    if targets:
        statement["Condition"] = {"StringLike": {"sagemaker:TargetModel": list(targets)}}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


class Account:
    """An AWS account, in which there is one user."""

    def __init__(self, endpoint: str) -> None:
        self.clients = Clients(endpoint, REGION)
        self.iam = self.clients.client("iam")
        self.access = Access(self.clients)
        self.iam.create_user(UserName="ann")
        self.key = self.iam.create_access_key(UserName="ann")["AccessKey"]["AccessKeyId"]

    async def allowed(self, target: str | None = "a/x.tar.gz", key: str | None = None) -> bool:
        try:
            await self.access.check(invocation(target, caller_access_key=key or self.key))
        except ApiError as error:
            return (error.code, error.status) != ("AccessDeniedException", 403)
        return True


@pytest.fixture
def account(around: str) -> Account:
    return Account(around)


async def test_keys_that_iam_does_not_know_may_do_everything(account: Account) -> None:
    assert await account.allowed(key="AKIAIOSFODNN7EXAMPLE")
    await account.access.check(invocation("a.tar.gz"))


async def test_a_user_without_a_policy_may_do_nothing(account: Account) -> None:
    with pytest.raises(ApiError) as caught:
        await account.access.check(invocation("a.tar.gz", caller_access_key=account.key))
    assert caught.value.message == (
        "User: arn:aws:iam::123456789012:user/ann is not authorized to perform: "
        f"sagemaker:InvokeEndpoint on resource: {ARN} because no identity-based policy allows the "
        "sagemaker:InvokeEndpoint action"
    )


async def test_many_requests_at_once_are_one_question_to_iam(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.iam.put_user_policy(UserName="ann", PolicyName="p", PolicyDocument=policy("a/*"))
    asked, look_up = [], account.access._look_up

    def counted(key: str) -> Any:
        asked.append(key)
        return look_up(key)

    monkeypatch.setattr(account.access, "_look_up", counted)
    assert all(await asyncio.gather(*(account.allowed("a/x.tar.gz") for _ in range(50))))
    assert len(asked) == 1


async def test_an_inline_policy_may_name_models(account: Account) -> None:
    account.iam.put_user_policy(UserName="ann", PolicyName="p", PolicyDocument=policy("a/*"))
    assert await account.allowed("a/x.tar.gz")
    assert not await account.allowed("b/x.tar.gz")
    assert not await account.allowed(None)


async def test_an_attached_policy_counts(account: Account) -> None:
    made = account.iam.create_policy(PolicyName="p", PolicyDocument=policy())["Policy"]["Arn"]
    account.iam.attach_user_policy(UserName="ann", PolicyArn=made)
    assert await account.allowed()
    account.iam.create_policy_version(
        PolicyArn=made, PolicyDocument=policy("b/*"), SetAsDefault=True
    )
    account.access = Access(account.clients)  # one that has kept nothing
    assert not await account.allowed("a/x.tar.gz")


async def test_policies_of_groups_count(account: Account) -> None:
    account.iam.create_group(GroupName="team")
    account.iam.add_user_to_group(GroupName="team", UserName="ann")
    assert not await account.allowed()
    account.iam.put_group_policy(GroupName="team", PolicyName="p", PolicyDocument=policy("a/*"))
    assert await account.allowed()
    denying = policy("a/secret*", effect="Deny")
    made = account.iam.create_policy(PolicyName="d", PolicyDocument=denying)["Policy"]["Arn"]
    account.iam.attach_group_policy(GroupName="team", PolicyArn=made)
    account.access = Access(account.clients)
    assert await account.allowed()
    with pytest.raises(ApiError, match="with an explicit deny in an identity-based policy"):
        await account.access.check(invocation("a/secret.tar.gz", caller_access_key=account.key))


async def test_a_role_that_was_assumed_has_its_own_policies(account: Account) -> None:
    trust = {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}]}
    role = account.iam.create_role(RoleName="app", AssumeRolePolicyDocument=json.dumps(trust))
    assumed = account.clients.client("sts").assume_role(
        RoleArn=role["Role"]["Arn"], RoleSessionName="session"
    )
    key = assumed["Credentials"]["AccessKeyId"]
    with pytest.raises(ApiError, match=r"User: arn:aws:sts::\d+:assumed-role/app/session is not"):
        await account.access.check(invocation("a.tar.gz", caller_access_key=key))
    account.iam.put_role_policy(RoleName="app", PolicyName="p", PolicyDocument=policy("a/*"))
    assert await account.allowed(key=key)
    assert not await account.allowed("b/x.tar.gz", key=key)


async def test_endpoints_are_in_lower_case_in_policies(account: Account) -> None:
    account.iam.put_user_policy(UserName="ann", PolicyName="p", PolicyDocument=policy())
    asked = invocation("a.tar.gz", endpoint="Houses", caller_access_key=account.key)
    await account.access.check(asked)


async def test_policies_are_kept_for_a_moment(account: Account, monkeypatch) -> None:
    account.iam.put_user_policy(UserName="ann", PolicyName="p", PolicyDocument=policy("a/*"))
    assert await account.allowed()
    account.iam.put_user_policy(UserName="ann", PolicyName="p", PolicyDocument=policy("b/*"))
    assert await account.allowed("b/x.tar.gz")  # a refusal is looked at again at once
    assert not await account.allowed("a/x.tar.gz")


async def test_a_user_who_was_deleted_may_do_nothing(account: Account) -> None:
    account.iam.put_user_policy(UserName="ann", PolicyName="p", PolicyDocument=policy("a/*"))
    assert await account.allowed()
    account.iam.delete_user_policy(UserName="ann", PolicyName="p")
    account.iam.delete_access_key(UserName="ann", AccessKeyId=account.key)
    account.iam.delete_user(UserName="ann")
    assert not await account.allowed("b/x.tar.gz")
