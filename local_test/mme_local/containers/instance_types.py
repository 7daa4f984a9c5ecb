"""What an instance type has: virtual CPUs, memory, GPUs, as AWS publishes them.

https://aws.amazon.com/sagemaker/pricing/ and https://aws.amazon.com/ec2/instance-types/
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Final

import botocore.session

from mme_local.errors import LocalError

GIB: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class InstanceType:
    """One instance type."""

    name: str
    """As ``ml.m5.large``."""
    vcpus: int
    memory: int
    """Bytes."""
    gpus: int = 0


# GiB for each virtual CPU, of families in which every size has as many of them.
_GIB_PER_VCPU: Final = {
    **dict.fromkeys(("c5", "c5d", "c6g", "c6gd", "c6gn", "c6i", "c6in", "c7g", "c7i"), 2),
    **dict.fromkeys(("c7i-flex", "c8g", "c8i", "c8i-flex"), 2),
    **dict.fromkeys(("m4", "m5", "m5d", "m6g", "m6gd", "m6i", "m7i", "m7i-flex"), 4),
    **dict.fromkeys(("m8g", "m8i", "m8i-flex"), 4),
    **dict.fromkeys(("r5", "r5d", "r6g", "r6gd", "r6i", "r7gd", "r7i"), 8),
    **dict.fromkeys(("r8g", "r8i", "r8i-flex"), 8),
}

# Virtual CPUs of the sizes whose number does not give them: 4 for each ``xlarge``.
_VCPUS: Final = {"medium": 1, "large": 2, "xlarge": 4}

# By name without ``ml.``: virtual CPUs, GiB, GPUs.
_SINGLE: Final[dict[str, tuple[int, float, int]]] = {
    "t2.medium": (2, 4, 0),
    "t2.large": (2, 8, 0),
    "t2.xlarge": (4, 16, 0),
    "t2.2xlarge": (8, 32, 0),
    "t3.medium": (2, 4, 0),
    "t3.large": (2, 8, 0),
    "t3.xlarge": (4, 16, 0),
    "t3.2xlarge": (8, 32, 0),
    "c4.large": (2, 3.75, 0),
    "c4.xlarge": (4, 7.5, 0),
    "c4.2xlarge": (8, 15, 0),
    "c4.4xlarge": (16, 30, 0),
    "c4.8xlarge": (36, 60, 0),
    "c5n.large": (2, 5.25, 0),
    "c5n.xlarge": (4, 10.5, 0),
    "c5n.2xlarge": (8, 21, 0),
    "c5n.4xlarge": (16, 42, 0),
    "c5n.9xlarge": (36, 96, 0),
    "c5n.18xlarge": (72, 192, 0),
    "g4dn.xlarge": (4, 16, 1),
    "g4dn.2xlarge": (8, 32, 1),
    "g4dn.4xlarge": (16, 64, 1),
    "g4dn.8xlarge": (32, 128, 1),
    "g4dn.12xlarge": (48, 192, 4),
    "g4dn.16xlarge": (64, 256, 1),
    **{
        f"{family}.{size}": (vcpus, vcpus * gib, gpus)
        for family, gib, most in (("g5", 4, 8), ("g6", 4, 8), ("g6e", 8, 8))
        for size, vcpus, gpus in (
            ("xlarge", 4, 1),
            ("2xlarge", 8, 1),
            ("4xlarge", 16, 1),
            ("8xlarge", 32, 1),
            ("12xlarge", 48, 4),
            ("16xlarge", 64, 1),
            ("24xlarge", 96, 4),
            ("48xlarge", 192, most),
        )
    },
    "p2.xlarge": (4, 61, 1),
    "p2.8xlarge": (32, 488, 8),
    "p2.16xlarge": (64, 732, 16),
    "p3.2xlarge": (8, 61, 1),
    "p3.8xlarge": (32, 244, 4),
    "p3.16xlarge": (64, 488, 8),
    "p3dn.24xlarge": (96, 768, 8),
    "p4d.24xlarge": (96, 1152, 8),
    "p4de.24xlarge": (96, 1152, 8),
    "p5.48xlarge": (192, 2048, 8),
}


def find(name: str) -> InstanceType:
    """The instance type of this name; those of one family and other sizes are reckoned by size.

    Raises:
        LocalError: its virtual CPUs and memory are not known here.
    """
    bare = name.removeprefix("ml.")
    if name != bare and bare in _SINGLE:
        vcpus, gib, gpus = _SINGLE[bare]
        return InstanceType(name, vcpus, int(gib * GIB), gpus)
    family, _, size = bare.partition(".")
    counted = _vcpus_of(size)
    if name == bare or family not in _GIB_PER_VCPU or counted is None:
        near = get_close_matches(name, names(), n=1)
        raise LocalError(
            f"nothing is known here of the instance type {name}, whose CPUs and memory would be "
            f"the container's limits: use {_known(near) or 'ml.m5.large'}"
        )
    return InstanceType(name, counted, counted * _GIB_PER_VCPU[family] * GIB)


@cache
def names() -> frozenset[str]:
    """All that can train or host, by botocore's enumerations."""
    model = botocore.session.get_session().get_service_model("sagemaker")
    shapes = ("ProductionVariantInstanceType", "TrainingInstanceType")
    return frozenset(name for shape in shapes for name in model.shape_for(shape).enum)


def _is_known(name: str) -> bool:
    family, _, size = name.removeprefix("ml.").partition(".")
    return f"{family}.{size}" in _SINGLE or (
        family in _GIB_PER_VCPU and _vcpus_of(size) is not None
    )


def _known(names: list[str]) -> str | None:
    return next((name for name in names if _is_known(name)), None)


def _vcpus_of(size: str) -> int | None:
    match = re.fullmatch(r"(\d+)xlarge", size)
    return 4 * int(match[1]) if match else _VCPUS.get(size)
