from __future__ import annotations

import pytest

from mme_hosting.aws import AwsError
from mme_hosting.deploy.advice import advice, explain

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/houses:1"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("MultiModel mode is not supported for instance type ml.inf1.xlarge.", "docs/gpu.md"),
        (f"Requested image {IMAGE} not found.", "mme push"),
        (
            f"Your Ecr Image {IMAGE} does not contain required "
            "com.amazonaws.sagemaker.capabilities.multi-models=true Docker label(s).",
            "none for multi-model endpoints",
        ),
        (
            "Could not assume role arn:aws:iam::123456789012:role/Houses. Please ensure that the "
            "role exists and allows principal 'sagemaker.amazonaws.com' to assume the role.",
            "mme iam execution",
        ),
        (
            "The account-level service limit 'ml.m5.xlarge for endpoint usage' is 0 Instances, "
            "with current utilization of 0 Instances and a request delta of 1 Instances.",
            "Service Quotas",
        ),
        (
            "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity "
            "error.",
            "no such instances free",
        ),
        (
            "The primary container for production variant main did not pass the ping health check. "
            "Please check CloudWatch logs for this endpoint.",
            "its log says why",
        ),
        (
            "VolumeSize parameter is not allowed for the selected Instance type ml.m5d.large.",
            "take volume_gb out",
        ),
        (
            'Could not find endpoint configuration "arn:aws:sagemaker:us-east-1:123456789012:'
            'endpoint-config/houses-1".',
            "make one of that name again",
        ),
        ("Something else.", ""),
    ],
)
def test_what_sagemaker_says_has_an_answer(said: str, expected: str):
    assert expected in advice(said)
    assert bool(advice(said)) == bool(expected)


def test_a_quota_is_that_of_endpoints_and_not_of_training():
    said = "The account-level service limit 'ml.m5.xlarge for endpoint usage' is 0 Instances."
    error = AwsError(
        "... for training job usage", call="CreateEndpoint", code="ResourceLimitExceeded", said=said
    )
    text = explain(error, "the endpoint houses")
    assert text.startswith("CreateEndpoint for the endpoint houses failed: The account-level")
    assert "training" not in text


def test_a_list_of_all_instance_types_is_left_out():
    types = ", ".join(f"ml.m5.{size}xlarge" for size in range(100))
    said = f"Value 'ml.t3.large' failed to satisfy enum value set: [{types}]"
    error = AwsError(said, call="CreateEndpointConfig", code="ValidationException", said=said)
    assert "[...]" in explain(error, "the configuration")


def test_what_is_denied_names_the_action_as_before():
    error = AwsError("denied: s3:x", call="CreateModel", code="AccessDeniedException", said="s3:x")
    assert explain(error, "the model houses") == "denied: s3:x"
