"""The policies hold by IAM's own grammar and table of actions, and name this endpoint's resources.

https://docs.aws.amazon.com/service-authorization/latest/reference/
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.session import get_session

from mme_hosting.aws import Aws
from mme_hosting.context import Context
from mme_hosting.errors import HostingError
from mme_hosting.iam import policies
from mme_hosting.iam.deployer import deployer
from mme_hosting.settings import Deployment
from mme_hosting.training import job_options
from support.aws import ACCOUNT, REGION, ROLE, aws
from support.policies import actions, findings, statement

KEY = "01234567-89ab-cdef-0123-456789abcdef"
VPC = {
    "subnets": ["subnet-0123456789abcdef0", "subnet-0fedcba9876543210"],
    "security_groups": ["sg-0123456789abcdef0"],
}
KINDS: dict[str, Callable[[Context], dict[str, Any]]] = {
    "execution": policies.execution,
    "execution --training": lambda context: policies.execution(context, training=True),
    "deployer": deployer,
    "deployer --training": lambda context: deployer(context, training=True),
    "caller": policies.caller,
    "caller --models": lambda context: policies.caller(context, ["company_a/*"]),
    "caller --aliases": lambda context: policies.caller(context, aliases=True),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "all": {"vpc": VPC, "kms_key": KEY},
    "alias": {"kms_key": "alias/models"},
    "bucket": {"models": "s3://houses"},
}


@pytest.fixture(scope="module", autouse=True)
def _aws() -> Iterator[None]:
    with aws():
        yield


def context(**settings: Any) -> Context:
    return Context(Deployment(**{"name": "houses", "role": ROLE, **settings}), Aws())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", SETTINGS)
def test_iam_takes_it(kind, settings):
    policy = KINDS[kind](context(**SETTINGS[settings]))
    assert findings(policy) == []
    sids = [each["Sid"] for each in policy["Statement"]]
    assert len(sids) == len(set(sids))


def test_the_grammar_is_really_checked():
    policy = policies.execution(context())
    statement(policy, "Models")["Action"] = ["s3:GetObjects"]
    assert any("UNKNOWN_ACTION" in each for each in findings(policy))
    policy = policies.execution(context())
    statement(policy, "Image")["Resource"] = ["arn:aws:s3:::houses"]
    assert any("RESOURCE_MISMATCH" in each for each in findings(policy))


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_not_too_long(kind):
    """A role holds 10,240 characters, a managed policy 6,144; white space does not count."""
    settings = {"name": "H" + "o" * 48 + "u", "vpc": VPC, "kms_key": f"alias/{'k' * 100}"}
    written = json.dumps(KINDS[kind](context(**settings)), separators=(",", ":"))
    assert len(written) <= 6144


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_allowed_on_everything_that_could_be_limited(kind):
    """What stands on ``*`` are actions that IAM's table has no resource for, but for reads."""
    policy = KINDS[kind](context(vpc=VPC, kms_key=KEY))
    everywhere = {
        action
        for each in policy["Statement"]
        if each["Resource"] == ["*"]
        for action in each["Action"]
    }
    writes = {each for each in everywhere if not each.split(":")[1].startswith(("Desc", "List"))}
    assert writes <= {
        "cloudwatch:GetMetricData",
        "cloudwatch:PutMetricData",
        "ecr:GetAuthorizationToken",
    }
    assert not any("*" in action for action in actions(policy))


def test_the_trust_policy_makes_a_role():
    policy = policies.trust(context())
    (only,) = policy["Statement"]
    assert only["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    assert only["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    iam = boto3.client("iam")
    iam.create_role(RoleName="houses", AssumeRolePolicyDocument=json.dumps(policy))
    document = json.dumps(policies.execution(context()))
    iam.put_role_policy(RoleName="houses", PolicyName="mme", PolicyDocument=document)
    found = iam.get_role_policy(RoleName="houses", PolicyName="mme")["PolicyDocument"]
    assert found == policies.execution(context())


def test_the_role_reads_the_prefix_and_nothing_beside():
    policy = policies.execution(context(models="s3://bucket/houses/models"))
    assert statement(policy, "Models")["Resource"] == ["arn:aws:s3:::bucket/houses/models/*"]
    listed = statement(policy, "ListModels")
    assert listed["Resource"] == ["arn:aws:s3:::bucket"]
    assert listed["Condition"] == {"StringLike": {"s3:prefix": ["houses/models/*"]}}
    assert "s3:PutObject" not in actions(policy)
    assert not any(action.startswith(("kms:", "ec2:")) for action in actions(policy))


def test_a_whole_bucket_is_listed_without_a_condition():
    policy = policies.execution(context(models="s3://bucket"))
    assert statement(policy, "Models")["Resource"] == ["arn:aws:s3:::bucket/*"]
    assert "Condition" not in statement(policy, "ListModels")


def test_what_belongs_to_an_endpoint_of_a_longer_name_is_not_allowed():
    allowed = [
        re.compile(re.escape(arn).replace(r"\?", ".").replace(r"\*", ".*"))
        for arn in statement(deployer(context()), "Endpoint")["Resource"]
    ]
    for kind in ("model", "endpoint-config"):
        arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/houses"
        assert any(each.fullmatch(f"{arn}-0123abcd") for each in allowed)
        assert not any(each.fullmatch(f"{arn}-2-0123abcd") for each in allowed)


def test_training_has_the_prefix_that_its_jobs_are_given():
    of = context(models="s3://bucket/houses/models/")
    given = job_options(of)["s3_prefix"].removeprefix("s3://")
    policy = policies.execution(of, training=True)
    assert statement(policy, "Training") == {
        "Sid": "Training",
        "Effect": "Allow",
        "Action": ["s3:GetObject", "s3:PutObject"],
        "Resource": [f"arn:aws:s3:::{given}*"],
    }
    below = given.removeprefix("bucket/")
    listed = statement(policy, "ListModels")["Condition"]["StringLike"]["s3:prefix"]
    assert listed == ["houses/models/*", f"{below}*"]
    assert statement(deployer(of), "Trained")["Resource"] == [f"arn:aws:s3:::{given}*"]


def test_training_writes_results_and_logs():
    policy = policies.execution(context(kms_key=KEY), training=True)
    assert any("TrainingJobs" in each for each in statement(policy, "Logs")["Resource"])
    assert "kms:GenerateDataKey" in actions(policy)
    assert "kms:GenerateDataKey" not in actions(policies.execution(context(kms_key=KEY)))


@pytest.mark.parametrize(
    ("image", "arn"),
    [
        (None, f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/xgboost-mme"),
        (
            "999999999999.dkr.ecr.eu-west-1.amazonaws.com/team/models@sha256:0123",
            "arn:aws:ecr:eu-west-1:999999999999:repository/team/models",
        ),
        ("localhost:5000/models:1", f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/xgboost-mme"),
    ],
)
def test_the_repository_is_that_of_the_image(image, arn):
    assert statement(policies.execution(context(image=image)), "Image")["Resource"] == [arn]


@pytest.mark.parametrize(
    ("key", "resource", "condition"),
    [
        (KEY, f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{KEY}", None),
        (f"arn:aws:kms:eu-west-1:9:key/{KEY}", f"arn:aws:kms:eu-west-1:9:key/{KEY}", None),
        ("alias/m", f"arn:aws:kms:{REGION}:{ACCOUNT}:key/*", "alias/m"),
        (f"arn:aws:kms:{REGION}:9:alias/m", f"arn:aws:kms:{REGION}:{ACCOUNT}:key/*", "alias/m"),
    ],
)
def test_the_key_by_all_its_names(key, resource, condition):
    found = statement(policies.execution(context(kms_key=key)), "Key")
    assert found["Resource"] == [resource]
    expected = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": condition}}
    assert found.get("Condition") == (expected if condition else None)
    volumes = statement(policies.execution(context(kms_key=key)), "Volumes")
    assert volumes["Condition"]["Bool"] == {"kms:GrantIsForAWSResource": "true"}


def test_network_interfaces_are_in_the_subnets_that_are_named():
    found = statement(policies.execution(context(vpc=VPC)), "NetworkInterfaces")["Resource"]
    # Of whichever account: a subnet may be shared.
    assert [each for each in found if "subnet/" in each] == [
        f"arn:aws:ec2:{REGION}:*:subnet/{each}" for each in VPC["subnets"]
    ]


def test_a_caller_has_the_models_of_one_tenant():
    policy = policies.caller(context(), ["company_a/*", "shared.tar.gz"])
    (only,) = policy["Statement"]
    assert only["Resource"] == [f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/houses"]
    assert only["Condition"] == {
        "StringLike": {"sagemaker:TargetModel": ["company_a/*", "shared.tar.gz"]}
    }


def test_a_caller_who_looks_names_up_reads_one_object():
    names = statement(policies.caller(context(), aliases=True), "Names")["Resource"]
    bucket = f"sagemaker-{REGION}-{ACCOUNT}"
    assert names == [f"arn:aws:s3:::{bucket}/houses/models/aliases.json"]


def test_names_with_capitals_stand_in_lower_case_too():
    """SageMaker's own ARNs have endpoints in lower case."""
    found = statement(policies.caller(context(name="Houses")), "Invoke")["Resource"]
    prefix = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint"
    assert found == [f"{prefix}/Houses", f"{prefix}/houses"]


def test_a_deployer_may_pass_the_one_role_to_sagemaker_alone():
    found = statement(deployer(context()), "PassRole")
    assert found["Resource"] == [ROLE]
    assert found["Condition"] == {
        "StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}
    }


def test_a_deployer_without_a_role_is_told(monkeypatch):
    monkeypatch.delenv("AWS_SAGEMAKER_ROLE", raising=False)
    with pytest.raises(HostingError, match="no execution role is known"):
        deployer(context(role=None))


def test_every_action_of_sagemaker_is_an_operation():
    operations = set(get_session().get_service_model("sagemaker").operation_names)
    operations |= set(get_session().get_service_model("sagemaker-runtime").operation_names)
    named = {each.split(":")[1] for each in actions(deployer(context())) if "sagemaker:" in each}
    assert named
    assert named <= operations


# What AWS calls otherwise than the operation, or asks nobody's leave for; the rest of S3's uploads.
_ACTIONS = {
    "sts:GetCallerIdentity": None,
    "s3:DeleteObjects": "s3:DeleteObject",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
    "s3:ListObjectsV2": "s3:ListBucket",
    "iam:ListRoles": None,  # mme init looks for roles, and takes a no for an answer
}
_PREFIXES = {"sagemaker-runtime": "sagemaker", "service-quotas": "servicequotas"}
_SERVICES = (
    *("application-autoscaling", "cloudwatch", "ec2", "ecr", "iam", "kms", "logs", "s3"),
    *("sagemaker", "sagemaker-runtime", "service-quotas", "sts"),
)


def called() -> set[str]:
    """The operations of AWS that this package has the names of, as IAM calls them."""
    session = get_session()
    known = {
        operation: f"{_PREFIXES.get(service, service)}:{operation}"
        for service in _SERVICES
        for operation in session.get_service_model(service).operation_names
    }
    package = Path(policies.__file__).parents[1]
    words = {
        node.value
        for file in package.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {known[word] for word in words & set(known)}


def test_a_deployer_may_make_every_call_of_this_package():
    found = called()
    assert {"s3:HeadBucket", "iam:GetRole", "ecr:CreateRepository"} <= found
    needed = {_ACTIONS.get(each, each) for each in found} - {None}
    everything = deployer(context(vpc=VPC, kms_key=KEY), training=True)
    assert needed - actions(everything) == set()
