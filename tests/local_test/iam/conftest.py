"""An AWS with IAM in it: moto's server alone, or the local SageMaker's, which asks IAM."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mme_local.aws.clients import Clients
from support import aws
from support.iam import User
from support.local_up import services


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with aws.aws() as endpoint:
        yield endpoint


@pytest.fixture
def around(moto: str) -> str:
    """The endpoint of an AWS that is empty, and asks nobody."""
    aws.reset(moto)
    return moto


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    """The root's, of services that ask IAM."""
    with services(tmp_path_factory.mktemp("run")) as (_, clients):
        yield clients


@pytest.fixture
def user(clients: Clients) -> Callable[..., User]:
    """Makes users."""

    def make(*statements: dict[str, Any]) -> User:
        return User(clients.client("iam"), {"": clients.endpoint}, *statements)

    return make
