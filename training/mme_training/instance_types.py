"""SageMaker's instance types by their names: which is like which, and which host many models."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

TRAINING: Final = "TrainingInstanceType"
"""botocore's enumeration of those that train."""
HOSTING: Final = "ProductionVariantInstanceType"
"""Of those that host."""

_TYPE: Final = re.compile(
    r"ml\.(?P<family>[a-z]+)(?P<generation>\d+)(?P<variant>[a-z-]*)\.(?P<size>\w+)"
)
_ACCELERATED: Final = re.compile(r"ml\.(p|g|inf|trn)\d")
_ONE_GPU: Final = re.compile(
    r"ml\.(p2\.xlarge|p3\.2xlarge|(g4dn|g5|g6|g6e)\.(xlarge|2xlarge|4xlarge|8xlarge|16xlarge))"
)
"""The instance types with one GPU; AWS lists those of p2, p3, g4dn and g5 for multi-model."""

_OWN_DISK: Final = re.compile(r"ml\.([a-z0-9-]*d[a-z0-9-]*|g5[a-z-]*|g6[a-z-]*)\.\w+")
"""As the SageMaker SDK has it: a ``d`` in the family, as ml.m5d and ml.g4dn, and g5 and g6."""


def nearest_of(value: str, candidates: Iterable[str]) -> str | None:
    """The instance type most like `value`: of its family, if it can be, and of its size."""
    asked = _TYPE.fullmatch(value)
    if not asked:
        return None

    def distance(candidate: re.Match[str]) -> tuple[bool, int, bool]:
        return (
            candidate["size"] != asked["size"],
            abs(int(candidate["generation"]) - int(asked["generation"])),
            candidate["variant"] != asked["variant"],
        )

    same_family = [
        match
        for match in map(_TYPE.fullmatch, candidates)
        if match and match["family"] == asked["family"]
    ]
    return min(same_family, key=distance)[0] if same_family else None


def hosts_multi_model(instance_type: str) -> bool:
    """Whether it takes multi-model endpoints: all types with CPUs only, and those with one GPU.

    https://docs.aws.amazon.com/sagemaker/latest/dg/multi-model-support.html
    """
    return not _ACCELERATED.match(instance_type) or bool(_ONE_GPU.fullmatch(instance_type))


def takes_volume_size(instance_type: str) -> bool:
    """Whether an endpoint on it may say how large its volume is: not where it has a disk itself.

    As ``volume_size_supported`` of https://github.com/aws/sagemaker-python-sdk has it.
    """
    return not _OWN_DISK.fullmatch(instance_type)


def platform(instance_type: str) -> str:
    """What an image must be built for: Graviton has a ``g`` after its generation, as ml.m6gd."""
    found = _TYPE.fullmatch(instance_type)
    graviton = found and (found["variant"].startswith("g"))
    return "linux/arm64" if graviton else "linux/amd64"
