"""iam:SimulatePrincipalPolicy and SimulateCustomPolicy, by boto3."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from mme_local.aws.clients import Clients
from support.iam import allow, deny, policy, refused

HOUSES = "arn:aws:s3:::houses"


@pytest.fixture
def iam(clients: Clients) -> Any:
    return clients.client("iam")


def decisions(answer: dict[str, Any]) -> dict[tuple[str, str], str]:
    assert answer["IsTruncated"] is False
    return {
        (each["EvalActionName"], each["EvalResourceName"]): each["EvalDecision"]
        for each in answer["EvaluationResults"]
    }


def test_each_action_on_each_resource(iam: Any, user: Any) -> None:
    ann = user(
        allow(["s3:GetObject", "s3:PutObject"], f"{HOUSES}/*"), deny("s3:Put*", "arn:aws:s3:::*/b")
    )
    found = iam.simulate_principal_policy(
        PolicySourceArn=ann.arn,
        ActionNames=["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
        ResourceArns=[f"{HOUSES}/a", f"{HOUSES}/b"],
    )
    assert decisions(found) == {
        ("s3:GetObject", f"{HOUSES}/a"): "allowed",
        ("s3:GetObject", f"{HOUSES}/b"): "allowed",
        ("s3:PutObject", f"{HOUSES}/a"): "allowed",
        ("s3:PutObject", f"{HOUSES}/b"): "explicitDeny",
        ("s3:DeleteObject", f"{HOUSES}/a"): "implicitDeny",
        ("s3:DeleteObject", f"{HOUSES}/b"): "implicitDeny",
    }


def test_roles_and_the_context(iam: Any) -> None:
    made = iam.create_role(RoleName="passing", AssumeRolePolicyDocument=policy(allow("x:Y")))
    condition = {"iam:PassedToService": ["sagemaker.amazonaws.com"]}
    document = policy(allow("iam:PassRole", StringEquals=condition))
    iam.put_role_policy(RoleName="passing", PolicyName="p", PolicyDocument=document)

    def simulated(*values: str) -> list[str]:
        entry = {
            "ContextKeyName": "iam:PassedToService",
            "ContextKeyValues": list(values),
            "ContextKeyType": "string",
        }
        answer = iam.simulate_principal_policy(
            PolicySourceArn=made["Role"]["Arn"],
            ActionNames=["iam:PassRole"],
            ContextEntries=[entry] if values else [],
        )
        return list(decisions(answer).values())

    assert simulated("sagemaker.amazonaws.com") == ["allowed"]
    assert simulated("lambda.amazonaws.com") == ["implicitDeny"]
    assert simulated() == ["implicitDeny"]


def test_policies_that_nobody_has_yet(iam: Any, user: Any) -> None:
    document = policy(allow("logs:*"))
    asked = {"ActionNames": ["logs:GetLogEvents", "s3:GetObject"]}
    found = iam.simulate_custom_policy(PolicyInputList=[document], **asked)
    assert list(decisions(found).values()) == ["allowed", "implicitDeny"]
    both = iam.simulate_principal_policy(
        PolicySourceArn=user(allow("s3:*")).arn, PolicyInputList=[document], **asked
    )
    assert list(decisions(both).values()) == ["allowed", "allowed"]


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"PolicySourceArn": "arn:aws:iam::123456789012:role/none-here"}, "NoSuchEntity"),
        ({"PolicySourceArn": "arn:aws:sts::123456789012:assumed-role/a/b"}, "InvalidInput"),
        ({"PolicyInputList": ["no policy"]}, "InvalidInput"),
        ({"PermissionsBoundaryPolicyInputList": ["{}"]}, "InvalidInput"),
    ],
)
def test_what_cannot_be_simulated(iam: Any, user: Any, members: Any, code: str) -> None:
    asked = {"PolicySourceArn": user().arn, "ActionNames": ["s3:GetObject"], **members}
    with pytest.raises(ClientError) as caught:
        iam.simulate_principal_policy(**asked)
    assert caught.value.response["Error"]["Code"] == code


def test_to_simulate_is_an_action_too(user: Any) -> None:
    ann, other = user(), user()
    ann.may(allow("iam:SimulatePrincipalPolicy", ann.arn))
    asked = ann.client("iam").simulate_principal_policy
    asked(PolicySourceArn=ann.arn, ActionNames=["s3:GetObject"])
    refused(asked, PolicySourceArn=other.arn, ActionNames=["s3:GetObject"])
