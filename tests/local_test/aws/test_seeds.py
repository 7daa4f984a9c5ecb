"""What is there from the start: a role that SageMaker may assume, and a bucket."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from mme_local.aws.clients import Clients
from mme_local.aws.seeds import POLICY, seed
from mme_local.settings import ROLE_ARN


def test_the_role_and_the_bucket_are_there_however_often(clients):
    seed(clients)
    seed(clients)
    role = clients.client("iam").get_role(RoleName="SageMakerRole")["Role"]
    assert role["Arn"] == ROLE_ARN
    statement = role["AssumeRolePolicyDocument"]["Statement"][0]
    assert statement["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    attached = clients.client("iam").list_attached_role_policies(RoleName="SageMakerRole")
    assert [each["PolicyArn"] for each in attached["AttachedPolicies"]] == [POLICY]
    simulated = clients.client("iam").simulate_principal_policy(
        PolicySourceArn=ROLE_ARN,
        ActionNames=["s3:ListBucket", "s3:GetObject", "s3:PutObject"],
        ResourceArns=["arn:aws:s3:::houses", "arn:aws:s3:::houses/a"],
    )
    assert {each["EvalDecision"] for each in simulated["EvaluationResults"]} == {"allowed"}
    clients.client("s3").head_bucket(Bucket="sagemaker-us-east-1-123456789012")


def test_a_bucket_of_another_region(server):
    clients = Clients(server.endpoint, "eu-west-1")
    seed(clients)
    place = clients.client("s3").get_bucket_location(Bucket="sagemaker-eu-west-1-123456789012")
    assert place["LocationConstraint"] == "eu-west-1"


def test_another_error_is_not_passed_over(clients, monkeypatch):
    monkeypatch.setattr("mme_local.aws.seeds.default_bucket", lambda region: "ab")
    with pytest.raises(ClientError, match="InvalidBucketName"):
        seed(clients)
