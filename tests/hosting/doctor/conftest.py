from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.aws import aws, reset


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with aws() as endpoint:
        yield endpoint


@pytest.fixture(autouse=True)
def _empty(moto, monkeypatch) -> None:
    reset(moto)
    monkeypatch.delenv("AWS_SAGEMAKER_ROLE", raising=False)
