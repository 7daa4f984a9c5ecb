"""Real clients in virtual environments of their own, and a local SageMaker for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.clients import programs
from support.local_up import Local, up

EXAMPLES = Path(__file__).parents[3] / "examples" / "local_sagemaker"

MakeClient = Callable[[str], Path]


@pytest.fixture(scope="session")
def client() -> MakeClient:
    """The directory of programs of an environment with a requirement: `client("awscli<2")`."""
    return programs


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    with up(tmp_path_factory.mktemp("up")) as running:
        yield running


@pytest.fixture(scope="session")
def example() -> Callable[[str], str]:
    """The path of an example: what runs here is what users are shown."""
    return lambda name: str(EXAMPLES / name)
