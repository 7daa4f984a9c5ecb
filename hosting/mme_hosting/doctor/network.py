"""The network of the containers, where one is set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from mme_hosting.aws import Aws, AwsError
from mme_hosting.doctor.findings import Finding, SkipError, failed, ok
from mme_hosting.doctor.setup import Setup

_ABSENT: Final = ("InvalidSubnetID.NotFound", "InvalidGroup.NotFound", "InvalidGroupId.Malformed")


def network(setup: Setup) -> Iterator[Finding]:
    """That subnets and security groups exist, and are of one network."""
    vpc = setup.settings.vpc
    if vpc is None:
        raise SkipError("the containers are in no network of yours")
    if setup.emulated:
        raise SkipError("the local SageMaker's containers are in no VPC")
    aws = setup.aws
    found: list[dict[str, Any]] = []
    for operation, ids, members in (
        ("DescribeSubnets", {"SubnetIds": vpc.subnets}, "Subnets"),
        ("DescribeSecurityGroups", {"GroupIds": vpc.security_groups}, "SecurityGroups"),
    ):
        try:
            found += _described(aws, operation, ids, members)
        except AwsError as error:
            if error.code not in _ABSENT:
                raise
            fix = f"aws ec2 describe-subnets --region {aws.region}"
            yield failed(f"{error.said}: mend vpc in mme.yaml", fix)
            return
    networks = sorted({each["VpcId"] for each in found})
    if len(networks) > 1:
        yield failed(f"subnets and security groups are of several VPCs: {', '.join(networks)}")
    else:
        count = f"{len(vpc.subnets)} subnets and {len(vpc.security_groups)} security groups"
        yield ok(f"{count} of {networks[0]}")


def _described(
    aws: Aws, operation: str, ids: dict[str, list[str]], members: str
) -> list[dict[str, Any]]:
    what = ", ".join(each for group in ids.values() for each in group)
    return list(aws.call("ec2", operation, what, **ids)[members])
