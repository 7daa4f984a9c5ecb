"""An endpoint whose models are in moto's S3."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mme_hosting.context import Context
from support.aws import aws, reset
from support.hosted_models import make


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with aws() as endpoint:
        yield endpoint


@pytest.fixture
def context(server: str) -> Iterator[Context]:
    yield make()
    reset(server)
