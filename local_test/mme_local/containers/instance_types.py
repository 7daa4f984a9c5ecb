"""What an instance type has: virtual CPUs, memory, GPUs, as AWS publishes them.

https://aws.amazon.com/sagemaker/pricing/ and https://aws.amazon.com/ec2/instance-types/
"""

from __future__ import annotations

import math
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
        near = get_close_matches(name, hosting_types() | training_types(), n=1)
        raise LocalError(
            f"nothing is known here of the instance type {name}, whose CPUs and memory would be "
            f"the container's limits: use {_known(near) or 'ml.m5.large'}"
        )
    return InstanceType(name, counted, counted * _GIB_PER_VCPU[family] * GIB)


def nearest_hosting(training_type: str) -> str:
    """The type that can host and is most like `training_type`: itself, if it can.

    ``ml.t2.medium`` is nearest to ``ml.t3.medium``, which trains and cannot host.

    Raises:
        LocalError: nothing is known of `training_type`.
    """
    if training_type in hosting_types():
        return training_type
    wanted = find(training_type)
    return min(_candidates(), key=lambda other: (_distance(wanted, other), other.name)).name


@cache
def hosting_types() -> frozenset[str]:
    """What may host, by botocore's ProductionVariantInstanceType."""
    return _enumeration("ProductionVariantInstanceType")


@cache
def training_types() -> frozenset[str]:
    """What may train, by botocore's TrainingInstanceType."""
    return _enumeration("TrainingInstanceType")


def _enumeration(shape: str) -> frozenset[str]:
    model = botocore.session.get_session().get_service_model("sagemaker")
    return frozenset(model.shape_for(shape).enum)


@cache
def _candidates() -> tuple[InstanceType, ...]:
    return tuple(find(name) for name in hosting_types() if _is_known(name))


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


def _distance(one: InstanceType, other: InstanceType) -> tuple[float, ...]:
    """How unlike they are: GPUs first, then size, kind, processor, generation."""
    return (
        abs(one.gpus - other.gpus),
        abs(math.log2(one.vcpus / other.vcpus)) + abs(math.log2(one.memory / other.memory)),
        _kind(one.name) != _kind(other.name),
        _is_arm(one.name) != _is_arm(other.name),
        abs(_generation(one.name) - _generation(other.name)),
        len(other.name),  # The plainest of a generation: m5 before m5d.
    )


def _kind(name: str) -> str:
    return name.removeprefix("ml.")[0]


def _generation(name: str) -> int:
    digit = re.search(r"\d", name)
    return int(digit[0]) if digit else 0


def _is_arm(name: str) -> bool:
    """Whether its processor is AWS's own, as that of ``c6gd``, which runs other images."""
    return re.match(r"ml\.[cmr]\d+g", name) is not None
