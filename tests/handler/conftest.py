"""Running servers and model archives for the tests that go over HTTP."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.models import ModelStore
from support.serving import Server


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    """Write an archive: `make_model(kind="ubj", files={...}, seed=0)`."""
    return ModelStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that do no harm to it."""
    with Server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def server(shared_server: Server) -> Iterator[Server]:
    """The shared server, with no model loaded before and after."""
    yield shared_server
    shared_server.unload_all()


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start servers of the test's own: `make_server(*args, MME_HOSTS="1")`."""
    numbers = itertools.count()
    with ExitStack() as stack:

        def make(*args: str, port: int | None = 0, ready: bool = True, **env: Any) -> Server:
            directory = tmp_path / f"server-{next(numbers)}"
            return stack.enter_context(Server(directory, *args, port=port, env=env, ready=ready))

        yield make
