from __future__ import annotations

import boto3
import pytest

from mme_hosting.doctor.findings import SkipError
from mme_hosting.doctor.network import network
from support.doctor import one, setup


def made(cidr: str = "10.0.0.0/16") -> tuple[str, str, str]:
    """A VPC, a subnet and a security group."""
    ec2 = boto3.client("ec2")
    vpc = ec2.create_vpc(CidrBlock=cidr)["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock=cidr)["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="mme", Description="mme", VpcId=vpc)["GroupId"]
    return vpc, subnet, group


def of(subnet: str, group: str):
    return setup(vpc={"subnets": [subnet], "security_groups": [group]})


def test_what_is_there():
    vpc, subnet, group = made()
    assert one(network, of(subnet, group)) == ("ok", f"1 subnets and 1 security groups of {vpc} | ")


@pytest.mark.parametrize("which", ["subnet", "group"])
def test_what_is_not_there(which):
    _, subnet, group = made()
    wrong = {"subnet": ("subnet-00000000", group), "group": (subnet, "sg-00000000")}[which]
    status, text = one(network, of(*wrong))
    assert status == "failed"
    assert "00000000" in text
    assert "mend vpc in mme.yaml" in text


def test_what_belongs_to_two_networks():
    (one_vpc, subnet, _), (other, _, group) = made(), made("10.1.0.0/16")
    status, text = one(network, of(subnet, group))
    assert status == "failed"
    assert all(vpc in text for vpc in (one_vpc, other))


def test_no_network():
    with pytest.raises(SkipError, match="no network of yours"):
        list(network(setup()))
