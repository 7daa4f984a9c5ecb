"""docs/local-sagemaker.md names every parameter of the platform, with its default."""

from __future__ import annotations

import re
from pathlib import Path

from mme_local.settings import PlatformParameters

PAGE = (Path(__file__).parents[2] / "docs/local-sagemaker.md").read_text()
SIZES = {" GiB": 1 << 30}


def value_of(text: str) -> str | float:
    for unit, factor in SIZES.items():
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    try:
        return float(text)
    except ValueError:
        return text


def test_every_parameter_is_there_with_its_default():
    rows = re.findall(r"(?m)^\| `(\w+)` \| (\S[^|]*?) \| [a-z]", PAGE)
    documented = {name: value_of(default) for name, default in rows}
    assert documented == PlatformParameters().model_dump()
