"""The role's checks; moto's IAM does not simulate, so that AWS's answers are botocore's stubs."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from mme_hosting.doctor.role import _simulations, permissions, role
from mme_hosting.doctor.setup import Setup
from mme_hosting.iam.policies import trust
from support.aws import ACCOUNT, REGION, ROLE
from support.doctor import findings, one, setup

BUCKET = f"sagemaker-{REGION}-{ACCOUNT}"


def make_role(of: Setup, **changes: Any) -> None:
    document = trust(of.context)
    document["Statement"][0].update(changes)
    boto3.client("iam").create_role(
        RoleName="training", AssumeRolePolicyDocument=json.dumps(document)
    )


@pytest.fixture
def of() -> Setup:
    found = setup(kms_key="0123")
    make_role(found)
    return found


def results(request: dict[str, Any], decision: str) -> dict[str, Any]:
    """An answer of SimulatePrincipalPolicy, as its API reference has it."""
    return {
        "EvaluationResults": [
            {
                "EvalActionName": action,
                "EvalResourceName": resource,
                "EvalDecision": decision,
                "MatchedStatements": [],
                "MissingContextValues": [],
            }
            for action in request["ActionNames"]
            for resource in request["ResourceArns"]
        ],
        "IsTruncated": False,
    }


def simulate(of: Setup, *decisions: str) -> list[tuple[str, str]]:
    """The findings if IAM decides so, a statement after the other."""
    with Stubber(of.aws.client("iam")) as stub:
        for decision, (actions, resources) in zip(decisions, REQUESTS, strict=True):
            request: dict[str, Any] = {"ActionNames": actions, "ResourceArns": resources}
            expected = {"PolicySourceArn": ROLE, **request}
            if actions == ["s3:ListBucket"]:
                expected["ContextEntries"] = [
                    {
                        "ContextKeyName": "s3:prefix",
                        "ContextKeyValues": ["houses/models/*"],
                        "ContextKeyType": "string",
                    }
                ]
            stub.add_response("simulate_principal_policy", results(request, decision), expected)
        found = findings(lambda each: permissions(each.context), of)
        stub.assert_no_pending_responses()
    return found


REQUESTS = (
    (["s3:GetObject"], [f"arn:aws:s3:::{BUCKET}/houses/models/any.tar.gz"]),
    (["s3:ListBucket"], [f"arn:aws:s3:::{BUCKET}"]),
    (["ecr:GetAuthorizationToken"], ["*"]),
    (
        ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
        [f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/xgboost-mme"],
    ),
    (["kms:Decrypt"], [f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0123"]),
)


def test_a_role_that_may_all_it_needs(of):
    found = simulate(of, *["allowed"] * 5)
    assert [status for status, _ in found] == ["ok"]
    assert found[0][1].startswith("training may read the models and pull the image")


def test_a_role_that_may_not_read_the_models(of):
    found = simulate(of, "implicitDeny", *["allowed"] * 4)
    assert found[0] == (
        "failed",
        f"training may not s3:GetObject on arn:aws:s3:::{BUCKET}/houses/models/any.tar.gz | "
        "mme iam execution > execution.json && aws iam put-role-policy --role-name training "
        "--policy-name mme --policy-document file://execution.json",
    )


def test_a_role_that_may_not_pull_the_image_by_a_deny(of):
    found = simulate(of, *["allowed"] * 3, "explicitDeny", "allowed")
    assert found[0][0] == "failed"
    assert "ecr:BatchGetImage, ecr:GetDownloadUrlForLayer on arn:aws:ecr:" in found[0][1]


def test_a_prefix_of_several_is_asked_for_by_itself():
    statement = {
        "Action": ["s3:ListBucket"],
        "Resource": [f"arn:aws:s3:::{BUCKET}"],
        "Condition": {"StringLike": {"s3:prefix": ["houses/models/*", "houses/other/*"]}},
    }
    asked = [each["ContextEntries"] for each in _simulations(ROLE, statement)]
    key = {"ContextKeyName": "s3:prefix", "ContextKeyType": "string"}
    assert asked == [
        [{**key, "ContextKeyValues": ["houses/models/*"]}],
        [{**key, "ContextKeyValues": ["houses/other/*"]}],
    ]


def test_a_key_may_have_a_policy_of_its_own(of):
    found = simulate(of, *["allowed"] * 4, "implicitDeny")
    assert [status for status, _ in found] == ["ok", "warning"]
    assert "kms:Decrypt" in found[1][1]
    assert "unless the key's own policy lets it" in found[1][1]


def test_a_simulation_that_is_denied_leaves_a_command(of):
    with Stubber(of.aws.client("iam")) as stub:
        stub.add_client_error("simulate_principal_policy", "AccessDenied", "no", 403)
        status, text = one(lambda each: permissions(each.context), of)
    assert status == "warning"
    assert "is denied to you" in text
    assert f"| aws iam simulate-principal-policy --policy-source-arn {ROLE} --a" in text


def test_an_iam_that_cannot_simulate():
    """As moto's, whose answer is no XML."""
    found = setup()
    make_role(found)
    (good, unknown) = findings(role, found)
    assert good[0] == "ok"
    assert unknown[0] == "warning"
    assert "to simulate it has failed" in unknown[1]


def test_no_role_is_known():
    status, text = one(role, setup(role=None))
    assert status == "failed"
    assert "no execution role is known" in text


def test_a_role_of_another_account():
    status, text = one(role, setup(role="arn:aws:iam::999999999999:role/theirs"))
    assert status == "failed"
    assert "is in the account 999999999999, and the credentials are of 123456789012" in text


def test_a_role_that_is_not_there():
    status, text = one(role, setup())
    assert status == "failed"
    assert f"CreateModel would say: Could not assume role {ROLE}. Please ensure" in text
    assert text.endswith(
        "| mme iam trust > trust.json && aws iam create-role --role-name training "
        "--assume-role-policy-document file://trust.json"
    )


def test_a_role_of_the_same_name_elsewhere():
    found = setup(role=ROLE.replace("role/", "role/teams/"))
    make_role(found)
    status, text = one(role, found)
    assert status == "failed"
    assert f"the ARN of training is {ROLE}, and not" in text


def test_a_role_that_does_not_trust_sagemaker():
    found = setup()
    make_role(found, Principal={"Service": "lambda.amazonaws.com"})
    status, text = one(role, found)
    assert status == "failed"
    assert "does not let SageMaker assume it. CreateModel would say: Could not assume" in text
    assert "update-assume-role-policy --role-name training" in text
