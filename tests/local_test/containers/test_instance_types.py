from __future__ import annotations

import pytest

from mme_local.containers.instance_types import GIB, InstanceType, find, names
from mme_local.errors import LocalError


@pytest.mark.parametrize(
    ("name", "vcpus", "gib", "gpus"),
    [
        ("ml.t2.medium", 2, 4, 0),
        ("ml.t3.medium", 2, 4, 0),
        ("ml.m4.10xlarge", 40, 160, 0),
        ("ml.m5.large", 2, 8, 0),
        ("ml.m5d.24xlarge", 96, 384, 0),
        ("ml.m6i.32xlarge", 128, 512, 0),
        ("ml.m7i.48xlarge", 192, 768, 0),
        ("ml.c4.large", 2, 3.75, 0),
        ("ml.c4.8xlarge", 36, 60, 0),
        ("ml.c5.9xlarge", 36, 72, 0),
        ("ml.c5n.18xlarge", 72, 192, 0),
        ("ml.c7i.xlarge", 4, 8, 0),
        ("ml.r5.16xlarge", 64, 512, 0),
        ("ml.r8g.medium", 1, 8, 0),
        ("ml.g4dn.16xlarge", 64, 256, 1),
        ("ml.g5.12xlarge", 48, 192, 4),
        ("ml.g5.48xlarge", 192, 768, 8),
        ("ml.p3.2xlarge", 8, 61, 1),
    ],
)
def test_what_aws_publishes(name: str, vcpus: int, gib: float, gpus: int) -> None:
    assert find(name) == InstanceType(name, vcpus, int(gib * GIB), gpus)


@pytest.mark.parametrize(
    "family",
    [
        *("t2", "t3", "m4", "m5", "m5d", "m6g", "m6i", "m7i", "c4", "c5", "c5n", "c6i", "c7i"),
        *("r5", "r6i", "r7i", "g4dn", "g5", "g6", "p3"),
    ],
)
def test_every_size_of_the_families_that_are_used_with_xgboost(family: str) -> None:
    sizes = [name for name in names() if name.split(".")[1] == family]
    assert sizes
    for name in sizes:
        assert find(name).vcpus >= 1


@pytest.mark.parametrize("name", ["ml.inf1.xlarge", "ml.m5.huge", "m5.large", "ml.zz9.large", ""])
def test_others_are_refused_with_one_that_is_known(name: str) -> None:
    with pytest.raises(LocalError, match=r"nothing is known here .* use ml\.\S+$"):
        find(name)
