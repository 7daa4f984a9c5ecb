"""Policies of those who use an endpoint once it is described: SageMaker itself, and its callers.

`mme_hosting.iam.deployer` has the policy of those who make it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from mme_hosting.context import Context
from mme_hosting.deploy.resources import INSTANCES, NAMESPACE
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
from mme_hosting.settings import Vpc
from mme_hosting.training import place
from mme_training.execution_role import SAGEMAKER

ENDPOINT_LOGS: Final = "/aws/sagemaker/Endpoints"
TRAINING_LOGS: Final = "/aws/sagemaker/TrainingJobs"

_LOGS: Final = (
    "logs:CreateLogGroup",
    "logs:CreateLogStream",
    "logs:DescribeLogStreams",
    "logs:PutLogEvents",
)
_NETWORK_READS: Final = (
    "ec2:DescribeDhcpOptions",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
)
_INTERFACES: Final = (
    "ec2:CreateNetworkInterfacePermission",
    "ec2:DeleteNetworkInterface",
    "ec2:DeleteNetworkInterfacePermission",
)
FOR_AWS: Final[dict[str, dict[str, Any]]] = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
"""A grant that only a service of AWS can use, such as one for a volume."""


def trust(context: Context) -> Document:
    """Who may assume the execution role: SageMaker, and only for this account.

    https://docs.aws.amazon.com/sagemaker/latest/dg/security-confused-deputy-prevention.html

    Raises:
        HostingError: the account cannot be asked for.
    """
    statement = {
        "Sid": "SageMaker",
        "Effect": "Allow",
        "Principal": {"Service": SAGEMAKER},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"aws:SourceAccount": context.aws.account}},
    }
    return document(statement)


def execution(context: Context, training: bool = False) -> Document:
    """What the execution role must be allowed.

    https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html

    Args:
        context: the endpoint.
        training: whether the jobs of ``mme train many`` have the role too.

    Raises:
        HostingError: the account cannot be asked for.
    """
    arns = Arns(context)
    groups = arns.log_group(f"{ENDPOINT_LOGS}/{context.name}")
    if training:
        groups += arns.log_group(TRAINING_LOGS)
    spaces = [NAMESPACE, INSTANCES, *([TRAINING_LOGS] if training else [])]
    writes = ("kms:Encrypt", "kms:GenerateDataKey") if training else ()
    return document(
        allow("Models", ("s3:GetObject",), [arns.objects]),
        allow("Training", ("s3:GetObject", "s3:PutObject"), [arns.training]) if training else None,
        list_models(context, trained=training),
        allow_key("Key", context, ("kms:Decrypt", *writes)),
        allow_key("Volumes", context, ("kms:CreateGrant",), FOR_AWS),
        allow("Login", ECR_LOGIN, ANYTHING),
        allow("Image", ECR_PULL, [arns.repository]),
        allow("Logs", _LOGS, groups),
        allow(
            "Metrics",
            ("cloudwatch:PutMetricData",),
            ANYTHING,
            {"StringEquals": {"cloudwatch:namespace": spaces}},
        ),
        *(_network(arns, context.deployment.vpc) if context.deployment.vpc else ()),
    )


def caller(context: Context, models: Sequence[str] = (), aliases: bool = False) -> Document:
    """What those must be allowed who invoke the endpoint.

    https://docs.aws.amazon.com/sagemaker/latest/dg/multi-model-endpoint-security.html

    Args:
        context: the endpoint.
        models: patterns of target models, such as ``company_a/*``; without any, all models.
        aliases: whether names of models are to be looked up too, as ``mme invoke`` does.

    Raises:
        HostingError: the account cannot be asked for.
    """
    arns = Arns(context)
    only = {"StringLike": {"sagemaker:TargetModel": list(models)}} if models else None
    return document(
        allow("Invoke", ("sagemaker:InvokeEndpoint",), arns.endpoint, only),
        allow("Names", ("s3:GetObject",), [arns.object("aliases.json")]) if aliases else None,
        allow_key("Key", context, ("kms:Decrypt",)) if aliases else None,
    )


def list_models(context: Context, trained: bool = False, or_whole: bool = False) -> Statement:
    """The statement that lets the keys below the prefix be listed.

    `trained` is also for those of training jobs. `or_whole` allows requests that name no prefix as
    well: to ask for the bucket itself is one, and for an object that is not there, S3 says so only
    to those.
    """
    key = context.models.key
    operator = "StringLikeIfExists" if or_whole else "StringLike"
    prefixes = [key, *([place(context).key] if trained else [])]
    below = {operator: {"s3:prefix": [f"{each}*" for each in prefixes]}} if key else None
    return allow("ListModels", ("s3:ListBucket",), [Arns(context).bucket], below)


def _network(arns: Arns, vpc: Vpc) -> tuple[Statement, ...]:
    interfaces = arns.of("ec2", "network-interface/*")
    within = [arns.shared("ec2", f"subnet/{each}") for each in vpc.subnets]
    groups = [arns.shared("ec2", f"security-group/{each}") for each in vpc.security_groups]
    return (
        allow("Network", _NETWORK_READS, ANYTHING),
        allow("NetworkInterfaces", ("ec2:CreateNetworkInterface",), [interfaces, *within, *groups]),
        allow("OwnNetworkInterfaces", _INTERFACES, [interfaces]),
    )
