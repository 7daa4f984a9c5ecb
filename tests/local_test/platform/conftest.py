from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from support import aws
from support.local_platform import Platform, platform
from support.scripted_containers import ScriptedRuntime


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    with aws.aws() as endpoint:
        yield endpoint


@pytest.fixture
def around(moto: str) -> str:
    """The endpoint of an AWS that is empty."""
    aws.reset(moto)
    return moto


@pytest.fixture
def runtime() -> ScriptedRuntime:
    return ScriptedRuntime()


@pytest.fixture
async def local(around: str, tmp_path: Path, runtime: ScriptedRuntime) -> AsyncIterator[Platform]:
    """A platform whose containers do as they are told."""
    async with platform(around, tmp_path, runtime) as made:
        yield made
