from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from mme_training.many.sagemaker_options import SageMakerOptions, bucket_and_key, problems
from support.aws import ROLE

GOOD: dict[str, Any] = {"role": ROLE, "image": "xgboost-mme:3.1.2", "s3_prefix": "s3://rows/many"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"role": "training"}, "role: must be a role's ARN"),
        ({"s3_prefix": "rows/many"}, "s3_prefix: must look like s3://bucket/prefix"),
        ({"models_prefix": "s3://"}, "models_prefix: must look like s3://bucket/prefix"),
        ({"job_prefix": "my_jobs"}, "job_prefix: takes letters"),
        ({"job_prefix": "x" * 21}, "20 at most"),
        ({"instance_type": "m5.large"}, "instance_type: must be"),
        ({"at_once": 0}, "at_once: Input should be greater than 0"),
        ({"subnets": ["subnet-1"]}, "subnets and security groups are given together"),
        ({"max_wait": 10}, "max_wait is for spot jobs"),
        ({"spot": True, "max_wait": 10}, "must not be below max_runtime"),
    ],
)
def test_mistakes_are_said_before_any_call(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as raised:
        SageMakerOptions(**{**GOOD, **given})
    assert said in problems(raised.value.errors())


@pytest.mark.parametrize(
    ("given", "limit"),
    [({}, 10), ({"wait": False}, None), ({"wait": False, "at_once": 3}, 3), ({"at_once": 50}, 50)],
)
def test_how_many_run_at_once(given: dict[str, Any], limit: int | None) -> None:
    assert SageMakerOptions(**GOOD, **given).limit == limit


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("123456789012.dkr.ecr.us-east-1.amazonaws.com/xgboost-mme:3.1.2-py312", "3.1.2"),
        ("registry:5000/xgboost-mme", ""),
        ("registry:5000/xgboost-mme:v3.2", "3.2"),
        ("xgboost-mme:latest", ""),
        ("xgboost-mme@sha256:" + "0" * 64, ""),
        ("xgboost-mme:3.1.2@sha256:" + "0" * 64, "3.1.2"),
    ],
)
def test_the_version_is_that_of_the_tag(image: str, version: str) -> None:
    assert SageMakerOptions(**{**GOOD, "image": image}).version == version


def test_uris_are_taken_apart() -> None:
    assert bucket_and_key("s3://rows/a/b/") == ("rows", "a/b")
    assert bucket_and_key("s3://rows") == ("rows", "")
