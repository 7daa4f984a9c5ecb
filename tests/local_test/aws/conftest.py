"""The services of AWS, started once for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mme_local.aws.clients import Clients
from mme_local.aws.server import AwsServer
from support.local_up import services


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[AwsServer, Clients]]:
    with services(tmp_path_factory.mktemp("run")) as started:
        yield started


@pytest.fixture
def server(running) -> AwsServer:
    return running[0]


@pytest.fixture
def clients(running) -> Clients:
    return running[1]
