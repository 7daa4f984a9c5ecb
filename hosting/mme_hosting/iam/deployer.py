"""The policy of those who make an endpoint and look after it: what the verbs of ``mme`` call."""

from __future__ import annotations

from typing import Any, Final

from mme_hosting.context import Context
from mme_hosting.deploy.resources import DIMENSION
from mme_hosting.iam.arns import Arns
from mme_hosting.iam.document import (
    ANYTHING,
    ECR_LOGIN,
    ECR_PULL,
    Document,
    Statement,
    allow,
    allow_key,
    document,
)
from mme_hosting.iam.policies import ENDPOINT_LOGS, FOR_AWS, list_models
from mme_training.execution_role import SAGEMAKER

_SCALING: Final = "sagemaker.application-autoscaling.amazonaws.com"
_LINKED_ROLE: Final = (
    f"role/aws-service-role/{_SCALING}/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
)
# Most of what lists or describes several cannot be limited to what belongs to the endpoint.
_READS: Final = (
    "application-autoscaling:DescribeScalableTargets",
    "application-autoscaling:DescribeScalingActivities",
    "application-autoscaling:DescribeScalingPolicies",
    "cloudwatch:GetMetricData",
    "logs:DescribeLogGroups",
    "sagemaker:ListEndpointConfigs",
    "sagemaker:ListEndpoints",
    "sagemaker:ListModels",
    "servicequotas:ListAWSDefaultServiceQuotas",
    "servicequotas:ListServiceQuotas",
)
_ALARMS: Final = (
    "cloudwatch:DeleteAlarms",
    "cloudwatch:ListTagsForResource",
    "cloudwatch:PutMetricAlarm",
    "cloudwatch:TagResource",
)
_NETWORK_READS: Final = ("ec2:DescribeSecurityGroups", "ec2:DescribeSubnets")


def deployer(context: Context) -> Document:
    """What those must be allowed who use the verbs of ``mme`` for this endpoint.

    Raises:
        HostingError: the role is not known, or the account cannot be asked for.
    """
    arns = Arns(context)
    vpc = context.deployment.vpc
    return document(
        *_sagemaker(arns),
        allow("Reads", tuple(sorted((*_READS, *(_NETWORK_READS if vpc else ())))), ANYTHING),
        *_role(context),
        *_scaling(arns),
        allow("Alarms", _ALARMS, arns.alarms),
        allow("ListAlarms", ("cloudwatch:DescribeAlarms",), [arns.of("cloudwatch", "alarm:*")]),
        *_storage(context, arns),
        *_images(arns),
        *_logs(arns),
    )


def _sagemaker(arns: Arns) -> tuple[Statement, ...]:
    of_kinds = {"Endpoint": arns.endpoint, "EndpointConfig": arns.configs, "Model": arns.models}
    made = tuple(
        f"sagemaker:{verb}{kind}" for kind in of_kinds for verb in ("Create", "Delete", "Describe")
    )
    more = (
        "sagemaker:AddTags",
        "sagemaker:InvokeEndpoint",
        "sagemaker:ListTags",
        "sagemaker:UpdateEndpoint",
        "sagemaker:UpdateEndpointWeightsAndCapacities",
    )
    resources = [arn for each in of_kinds.values() for arn in each]
    return (allow("Endpoint", tuple(sorted((*made, *more))), resources),)


def _role(context: Context) -> tuple[Statement, ...]:
    role = [context.role]
    passed: dict[str, Any] = {"StringEquals": {"iam:PassedToService": SAGEMAKER}}
    return (
        allow("PassRole", ("iam:PassRole",), role, passed),
        allow("LookAtRole", ("iam:GetRole", "iam:SimulatePrincipalPolicy"), role),
    )


def _scaling(arns: Arns) -> tuple[Statement, ...]:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-prerequisites.html.

    The ARN of a scalable target has an id that is not known before, so that conditions take the
    place of a name.
    """
    context = arns.context
    only = {
        "StringEquals": {
            "application-autoscaling:service-namespace": "sagemaker",
            "application-autoscaling:scalable-dimension": DIMENSION,
        }
    }
    actions = tuple(
        f"application-autoscaling:{name}"
        for name in (
            "DeleteScalingPolicy",
            "DeregisterScalableTarget",
            "PutScalingPolicy",
            "RegisterScalableTarget",
        )
    )
    account = f"arn:{context.aws.partition}:iam::{context.aws.account}"
    return (
        allow("Scaling", actions, [arns.of("application-autoscaling", "scalable-target/*")], only),
        allow(
            "ScalingRole",
            ("iam:CreateServiceLinkedRole",),
            [f"{account}:{_LINKED_ROLE}"],
            {"StringEquals": {"iam:AWSServiceName": _SCALING}},
        ),
    )


def _storage(context: Context, arns: Arns) -> tuple[Statement | None, ...]:
    return (
        allow(
            "Archives",
            ("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"),
            [arns.objects, arns.training],
        ),
        list_models(context, or_whole=True, training=True),
        allow_key("Key", context, ("kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey")),
        allow_key("Volumes", context, ("kms:CreateGrant",), FOR_AWS),
    )


def _images(arns: Arns) -> tuple[Statement, ...]:
    pushes = (
        "ecr:CompleteLayerUpload",
        "ecr:CreateRepository",
        "ecr:DescribeImages",
        "ecr:DescribeRepositories",
        "ecr:InitiateLayerUpload",
        "ecr:PutImage",
        "ecr:UploadLayerPart",
    )
    return (
        allow("Login", ECR_LOGIN, ANYTHING),
        allow("Image", tuple(sorted((*ECR_PULL, *pushes))), [arns.repository]),
    )


def _logs(arns: Arns) -> tuple[Statement, ...]:
    actions = ("logs:DescribeLogStreams", "logs:FilterLogEvents", "logs:GetLogEvents")
    return (allow("Logs", actions, arns.log_group(f"{ENDPOINT_LOGS}/{arns.context.name}")),)
