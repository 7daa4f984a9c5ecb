"""What a policy allows of the services around SageMaker, besides S3."""

from __future__ import annotations

from typing import Any

import pytest

from mme_local.aws.clients import Clients
from support.iam import allow, policy, refused

ACCOUNT = "123456789012"


def arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:us-east-1:{ACCOUNT}:{resource}"


LOGS = arn("logs", "log-group:/aws/sagemaker/Endpoints/houses:*")


TARGET = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/houses/variant/AllTraffic",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}


ALARM = {
    "AlarmName": "houses/errors",
    "MetricName": "m",
    "Namespace": "n",
    "Period": 60,
    "EvaluationPeriods": 1,
    "Threshold": 1,
    "Statistic": "Sum",
    "ComparisonOperator": "GreaterThanThreshold",
}


SAGEMAKER_ONLY = {"application-autoscaling:service-namespace": "sagemaker"}


POINT = {"MetricData": [{"MetricName": "m", "Value": 1}]}


GROUP = {"logGroupName": "/aws/sagemaker/Endpoints/houses"}


EMPTY = policy(allow("x:y"))


Call = tuple[str, dict[str, Any]]


CASES: list[tuple[str, dict[str, Any], Call, Call]] = [
    # service, the one statement of the policy, what it allows, what it does not
    (
        "ecr",
        allow("ecr:CreateRepository", arn("ecr", "repository/houses")),
        ("create_repository", {"repositoryName": "houses"}),
        ("create_repository", {"repositoryName": "other"}),
    ),
    (
        "ecr",
        allow("ecr:DescribeRepositories", arn("ecr", "repository/*")),
        ("describe_repositories", {}),
        ("get_authorization_token", {}),
    ),
    (
        "cloudwatch",
        allow("cloudwatch:PutMetricData", StringEquals={"cloudwatch:namespace": "Mine"}),
        ("put_metric_data", {"Namespace": "Mine", **POINT}),
        ("put_metric_data", {"Namespace": "Other", **POINT}),
    ),
    (
        "cloudwatch",
        allow("cloudwatch:PutMetricAlarm", arn("cloudwatch", "alarm:houses/*")),
        ("put_metric_alarm", ALARM),
        ("put_metric_alarm", {**ALARM, "AlarmName": "other"}),
    ),
    (
        "cloudwatch",
        allow("cloudwatch:DeleteAlarms", arn("cloudwatch", "alarm:houses/*")),
        ("delete_alarms", {"AlarmNames": ["houses/errors"]}),
        ("delete_alarms", {"AlarmNames": ["houses/errors", "other"]}),
    ),
    (
        "cloudwatch",
        allow("cloudwatch:DescribeAlarms", arn("cloudwatch", "alarm:*")),
        ("describe_alarms", {"AlarmNamePrefix": "houses/"}),
        ("list_metrics", {}),
    ),
    (
        "cloudwatch",
        allow("cloudwatch:PutDashboard", f"arn:aws:cloudwatch::{ACCOUNT}:dashboard/houses"),
        ("put_dashboard", {"DashboardName": "houses", "DashboardBody": '{"widgets": []}'}),
        ("put_dashboard", {"DashboardName": "other", "DashboardBody": '{"widgets": []}'}),
    ),
    (
        "logs",
        allow("logs:CreateLogGroup", LOGS),
        ("create_log_group", GROUP),
        ("create_log_group", {"logGroupName": "/aws/sagemaker/Endpoints/houses2"}),
    ),
    (
        "logs",
        allow("logs:CreateLogStream", f"{LOGS}:log-stream:A/*".replace(":*:", ":")),
        ("create_log_stream", {**GROUP, "logStreamName": "A/1"}),
        ("create_log_stream", {**GROUP, "logStreamName": "B/1"}),
    ),
    (
        "logs",
        allow("logs:FilterLogEvents", LOGS),
        ("filter_log_events", GROUP),
        ("describe_log_groups", {}),
    ),
    (
        "application-autoscaling",
        allow("application-autoscaling:RegisterScalableTarget", StringEquals=SAGEMAKER_ONLY),
        ("register_scalable_target", {**TARGET, "MinCapacity": 1, "MaxCapacity": 2}),
        ("deregister_scalable_target", TARGET),
    ),
    (
        "application-autoscaling",
        allow("application-autoscaling:*", StringEquals=SAGEMAKER_ONLY),
        ("register_scalable_target", {**TARGET, "MinCapacity": 1, "MaxCapacity": 2}),
        ("describe_scalable_targets", {"ServiceNamespace": "sagemaker"}),  # AWS has no key there
    ),
    (
        "application-autoscaling",
        allow("application-autoscaling:DescribeScalableTargets"),
        ("describe_scalable_targets", {"ServiceNamespace": "sagemaker"}),
        ("describe_scaling_policies", {"ServiceNamespace": "sagemaker"}),
    ),
    (
        "iam",
        allow("iam:CreateRole", f"arn:aws:iam::{ACCOUNT}:role/mme/*"),
        ("create_role", {"RoleName": "a", "Path": "/mme/", "AssumeRolePolicyDocument": EMPTY}),
        ("create_role", {"RoleName": "b", "AssumeRolePolicyDocument": EMPTY}),
    ),
    (
        "iam",
        allow("iam:PutRolePolicy", f"arn:aws:iam::{ACCOUNT}:role/mme/a"),
        ("put_role_policy", {"RoleName": "a", "PolicyName": "p", "PolicyDocument": EMPTY}),
        ("put_role_policy", {"RoleName": "b", "PolicyName": "p", "PolicyDocument": EMPTY}),
    ),
    (
        "iam",
        allow("iam:ListRoles"),
        ("list_roles", {}),
        ("list_users", {}),
    ),
    (
        "sts",
        allow("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/mme/a"),
        (
            "assume_role",
            {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/mme/a", "RoleSessionName": "ann"},
        ),
        ("assume_role", {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/b", "RoleSessionName": "ann"}),
    ),
    (
        "service-quotas",
        allow("servicequotas:ListAWSDefaultServiceQuotas"),
        ("list_aws_default_service_quotas", {"ServiceCode": "vpc"}),
        ("get_service_quota", {"ServiceCode": "vpc", "QuotaCode": "L-2AFB9258"}),
    ),
    (
        "kms",
        allow("kms:CreateKey"),
        ("create_key", {}),
        ("list_keys", {}),
    ),
]


@pytest.mark.parametrize(
    ("service", "statement", "may", "may_not"),
    CASES,
    ids=[f"{case[0]}-{case[2][0]}" for case in CASES],
)
def test_each_service(
    user: Any, service: str, statement: dict[str, Any], may: Call, may_not: Call
) -> None:
    asked = user(statement).client(service)
    operation, members = may_not
    said = refused(getattr(asked, operation), **members)
    assert f"because no identity-based policy allows the {service.replace('-q', 'q')}:" in said
    operation, members = may
    getattr(asked, operation)(**members)


def test_keys_of_kms(user: Any, clients: Clients) -> None:
    kms = clients.client("kms")
    mine, other = (kms.create_key()["KeyMetadata"] for _ in range(2))
    asked = user(allow("kms:DescribeKey", mine["Arn"])).client("kms")
    asked.describe_key(KeyId=mine["KeyId"])
    asked.describe_key(KeyId=mine["Arn"])
    refused(asked.describe_key, KeyId=other["KeyId"])


def test_services_that_speak_otherwise_are_for_those_who_may_all_of_them(user: Any) -> None:
    ann = user(allow("lambda:ListFunctions"))
    assert "lambda:an operation that is not known here" in refused(
        ann.client("lambda").list_functions
    )
    ann.may(allow("lambda:*"))
    ann.client("lambda").list_functions()
