"""Which instance types can be asked for: botocore's enumerations differ by what they are for."""

from __future__ import annotations

import re
from typing import Final

from mme_local.service.model import SAGEMAKER, service

TRAINING: Final = "TrainingInstanceType"
HOSTING: Final = "ProductionVariantInstanceType"

_USES: Final = {TRAINING: "train", HOSTING: "host"}
_TYPE: Final = re.compile(
    r"ml\.(?P<family>[a-z]+)(?P<generation>\d+)(?P<variant>[a-z-]*)\.(?P<size>\w+)"
)
_ACCELERATED: Final = re.compile(r"ml\.(p|g|inf|trn)\d")
_ONE_GPU: Final = re.compile(
    r"ml\.(p2\.xlarge|p3\.2xlarge|(g4dn|g5|g6|g6e)\.(xlarge|2xlarge|4xlarge|8xlarge|16xlarge))"
)
"""The instance types with one GPU; AWS lists those of p2, p3, g4dn and g5 for multi-model."""


def advice(enumeration: str, value: str) -> str:
    """What to write instead of an instance type that an enumeration does not have.

    Only for the enumerations of instance types; AWS's text ends before this.
    """
    if enumeration not in _USES:
        return ""
    nearest = nearest_of(value, types(enumeration))
    use = _USES[enumeration]
    other = HOSTING if enumeration == TRAINING else TRAINING
    known = f"{value} can {_USES[other]} but cannot {use}" if value in types(other) else ""
    hint = f"the nearest that can is {nearest}" if nearest else ""
    if not known and not hint:
        return ""
    return f". {known or f'{value} cannot {use}'}{'; ' if hint else ''}{hint}."


def types(enumeration: str) -> list[str]:
    """The instance types of one of botocore's enumerations."""
    names: list[str] = service(SAGEMAKER).shape_for(enumeration).enum
    return names


def nearest_of(value: str, candidates: list[str]) -> str | None:
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
