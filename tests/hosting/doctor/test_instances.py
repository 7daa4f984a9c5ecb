"""Service Quotas' answers are stubs by botocore's model: moto has none of SageMaker's."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.stub import Stubber

from mme_hosting.doctor import instances
from mme_hosting.doctor.findings import SkipError
from support.doctor import findings, one, setup

NAME = "ml.m5.large for endpoint usage"


@pytest.mark.parametrize(
    ("instance_type", "status", "text"),
    [
        ("ml.m5.large", "ok", "hosts multi-model endpoints | "),
        ("ml.t2.medium", "ok", "hosts"),
        ("ml.t3.medium", "failed", "It can train. | instance_type: ml.t2.medium"),
        ("ml.m5.huge", "failed", "no type that hosts endpoints. | instance_type: ml.m5.large"),
        ("ml.z9.large", "failed", "no type that hosts endpoints. | "),
        ("ml.g5.12xlarge", "failed", "takes no multi-model endpoints"),
        ("ml.g5.xlarge", "warning", "has a GPU: AWS says of Triton alone"),
    ],
)
def test_types_that_host_and_types_that_do_not(instance_type, status, text):
    found = one(instances.instance_type, setup(instance_type=instance_type))
    assert found[0] == status
    assert text in found[1]


def test_a_type_that_hosts_and_does_not_train():
    found = findings(instances.instance_type, setup(instance_type="ml.t2.medium", training=True))
    assert found[1] == (
        "warning",
        "ml.t2.medium cannot train; the nearest that can is ml.t3.medium | ",
    )


def quota(name: str, value: float) -> dict[str, Any]:
    """As ListServiceQuotas has it."""
    return {
        "ServiceCode": "sagemaker",
        "ServiceName": "Amazon SageMaker",
        "QuotaArn": "arn:aws:servicequotas:us-east-1:123456789012:sagemaker/L-9614C779",
        "QuotaCode": "L-9614C779",
        "QuotaName": name,
        "Value": value,
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
    }


def asked(
    applied: list[dict[str, Any]], default: list[dict[str, Any]] | None = None, **settings: Any
) -> list[tuple[str, str]]:
    of = setup(**settings)
    with Stubber(of.aws.client("service-quotas")) as stub:
        more = [quota("ml.m5.xlarge for endpoint usage", 9)]
        stub.add_response(
            "list_service_quotas", {"Quotas": more, "NextToken": "2"}, {"ServiceCode": "sagemaker"}
        )
        stub.add_response(
            "list_service_quotas",
            {"Quotas": applied},
            {"ServiceCode": "sagemaker", "NextToken": "2"},
        )
        if default is not None:
            stub.add_response(
                "list_aws_default_service_quotas",
                {"Quotas": default},
                {"ServiceCode": "sagemaker"},
            )
        found = findings(instances.quota, of)
        stub.assert_no_pending_responses()
    return found


def test_a_quota_that_is_enough():
    assert asked([quota(NAME, 8)]) == [("ok", f"the quota '{NAME}' is 8 | ")]


def test_a_quota_of_nothing():
    assert asked([quota(NAME, 0)]) == [
        (
            "failed",
            f"the quota '{NAME}' is 0, and must be 1 | aws service-quotas "
            "request-service-quota-increase --service-code sagemaker --quota-code L-9614C779 "
            "--desired-value 1 --region us-east-1",
        )
    ]


def test_the_most_instances_count():
    (found,) = asked([quota(NAME, 3)], autoscaling={"max": 4})
    assert found[0] == "failed"
    assert "is 3, and must be 4" in found[1]


def test_a_quota_that_is_too_small_for_the_next_deployment():
    (found,) = asked([quota(NAME, 3)], instances=2)
    assert found[0] == "warning"
    assert "runs both side by side, and needs up to 4" in found[1]
    assert found[1].endswith("--desired-value 4 --region us-east-1")


def test_a_quota_that_was_never_changed_is_the_default():
    (found,) = asked([], [quota(NAME, 2)])
    assert found == ("ok", f"the quota '{NAME}' is 2 | ")


def test_a_quota_that_there_is_not():
    (found,) = asked([], [])
    assert found == ("warning", f"there is no quota '{NAME}' in this region | ")


def test_a_burstable_type_is_not_autoscaled():
    burstable = setup(instance_type="ml.t2.medium", autoscaling={"max": 2})
    found = findings(instances.instance_type, burstable)
    assert found[-1][0] == "failed"
    assert "ml.t2.medium is burstable" in found[-1][1]
    assert len(findings(instances.instance_type, setup(instance_type="ml.t2.medium"))) == 1


def test_a_type_with_a_disk_of_its_own_takes_no_size_for_it():
    own = findings(instances.instance_type, setup(instance_type="ml.m5d.large", volume_gb=50))
    assert [status for status, _ in own] == ["ok", "failed"]
    assert "ml.m5d.large has a disk of its own" in own[-1][1]
    assert len(findings(instances.instance_type, setup(volume_gb=50))) == 1


def test_training_has_a_quota_of_its_own():
    found = asked([quota(NAME, 8), quota("ml.m5.large for training job usage", 0)], training=True)
    assert [status for status, _ in found] == ["ok", "failed"]
    assert "'ml.m5.large for training job usage' is 0, and must be 1" in found[1][1]


def test_quotas_that_may_not_be_read():
    of = setup()
    with Stubber(of.aws.client("service-quotas")) as stub:
        stub.add_client_error("list_service_quotas", "AccessDeniedException", "no", 400)
        status, text = one(instances.quota, of)
    assert status == "warning"
    assert "Allow your user or role servicequotas:ListServiceQuotas" in text
    assert "| aws service-quotas list-service-quotas --service-code sagemaker" in text


def test_the_local_sagemaker_has_none():
    with pytest.raises(SkipError, match="no quotas"):
        list(instances.quota(setup(local=True)))
