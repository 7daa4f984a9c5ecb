from __future__ import annotations

from collections.abc import Iterator

import pytest

from mme_local.aws.clients import Clients
from support import aws
from support.local_platform import REGION


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    with aws.aws() as endpoint:
        yield endpoint


@pytest.fixture
def clients(moto: str) -> Clients:
    """Clients of an AWS that is empty."""
    aws.reset(moto)
    return Clients(moto, REGION)
