from __future__ import annotations

import pytest
from botocore.session import get_session

from mme_training.instance_types import (
    HOSTING,
    hosts_multi_model,
    nearest_of,
    platform,
    takes_volume_size,
)

TYPES = get_session().get_service_model("sagemaker").shape_for(HOSTING).enum


@pytest.mark.parametrize(
    ("instance_type", "takes"),
    [
        ("ml.t2.medium", True),
        ("ml.m7i.48xlarge", True),
        ("ml.g4dn.xlarge", True),
        ("ml.g5.16xlarge", True),
        ("ml.p3.2xlarge", True),
        ("ml.g5.12xlarge", False),
        ("ml.p4d.24xlarge", False),
        ("ml.p2.8xlarge", False),
        ("ml.inf2.xlarge", False),
        ("ml.trn1.2xlarge", False),
    ],
)
def test_multi_model_is_for_cpus_and_single_gpus(instance_type: str, takes: bool) -> None:
    assert instance_type in TYPES
    assert hosts_multi_model(instance_type) is takes


@pytest.mark.parametrize(
    ("instance_type", "expected"),
    [
        ("ml.m5.large", "linux/amd64"),
        ("ml.g5.xlarge", "linux/amd64"),
        ("ml.g4dn.xlarge", "linux/amd64"),
        ("ml.m6g.large", "linux/arm64"),
        ("ml.m6gd.large", "linux/arm64"),
        ("ml.c6gn.xlarge", "linux/arm64"),
        ("ml.c7g.xlarge", "linux/arm64"),
    ],
)
def test_graviton_takes_images_for_arm(instance_type: str, expected: str) -> None:
    assert instance_type in TYPES
    assert platform(instance_type) == expected


@pytest.mark.parametrize(
    ("instance_type", "takes"),
    [
        ("ml.m5.large", True),
        ("ml.t2.medium", True),
        ("ml.c7g.xlarge", True),
        ("ml.p3.2xlarge", True),
        ("ml.m5d.large", False),
        ("ml.c5d.xlarge", False),
        ("ml.m6gd.large", False),
        ("ml.g4dn.xlarge", False),
        ("ml.g5.xlarge", False),
        ("ml.g6e.xlarge", False),
    ],
)
def test_a_volume_is_for_types_without_a_disk(instance_type: str, takes: bool) -> None:
    assert instance_type in TYPES
    assert takes_volume_size(instance_type) is takes


def test_the_nearest_of_none_of_the_family() -> None:
    assert nearest_of("ml.m5.large", ["ml.c5.large"]) is None
