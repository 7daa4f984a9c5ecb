"""Which instance types can be asked for: botocore's enumerations differ by what they are for."""

from __future__ import annotations

from typing import Final

from mme_local.service.model import SAGEMAKER, service
from mme_training.instance_types import HOSTING, TRAINING, nearest_of

_USES: Final = {TRAINING: "train", HOSTING: "host"}


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
