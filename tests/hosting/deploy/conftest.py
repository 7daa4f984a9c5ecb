"""A local SageMaker for the tests of a module, and an endpoint for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.deployments import Deployed
from support.local_up import Local, up


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    with up(tmp_path_factory.mktemp("local")) as running:
        yield running


@pytest.fixture
def houses(local: Local, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Deployed]:
    number = abs(hash(request.node.name)) % 10_000
    deployed = Deployed(local, tmp_path, f"houses-{number}")
    yield deployed
    deployed.mme("delete", "--yes")
