"""The Docker engine, the image, and containers of it that are always removed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import docker
import pytest
from docker import DockerClient
from docker.errors import DockerException, ImageNotFound

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.container import Container
from support.models import ModelStore

MakeContainer = Callable[..., Container]


@pytest.fixture(scope="session")
def engine() -> Iterator[DockerClient]:
    """The Docker engine that the environment names."""
    try:
        client = docker.from_env(timeout=120)
        client.ping()
    except DockerException as error:
        pytest.fail(
            f"the tests marked 'container' need a Docker engine, and there is none: {error}. "
            "Start one, or leave them out with -m 'not container'",
            pytrace=False,
        )
    yield client
    client.close()


@pytest.fixture(scope="session")
def image(engine: DockerClient) -> str:
    """Name of the image to test."""
    name = os.environ.get("MME_TEST_IMAGE", "xgboost-mme:cpu")
    try:
        engine.images.get(name)
    except ImageNotFound:
        pytest.fail(
            f"the engine has no image {name}: build it, or name another in MME_TEST_IMAGE",
            pytrace=False,
        )
    return name


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    """Write an archive: `make_model(kind="ubj", files={...}, seed=0)`."""
    store = ModelStore(tmp_path_factory.mktemp("store"))
    store.root.mkdir(parents=True)
    return store


@pytest.fixture(scope="module")
def shared_container(
    engine: DockerClient, image: str, make_model: ModelStore
) -> Iterator[Container]:
    """A multi-model server for all tests of a module that do no harm to it."""
    environment = {"SAGEMAKER_MULTI_MODEL": "true"}
    options = {"models": make_model.root, "environment": environment}
    with Container(engine, image, "serve", **options) as container:
        yield container.wait_ready()


@pytest.fixture
def server(shared_container: Container) -> Iterator[Container]:
    """The shared server, with no model loaded before and after; its log is shown on failure."""
    before = len(shared_container.log_text())
    yield shared_container
    print(shared_container.log_text()[before:])  # noqa: T201
    for name in shared_container.names():
        shared_container.unload(name)


@pytest.fixture
def run(engine: DockerClient, image: str) -> Iterator[MakeContainer]:
    """Start a container of the test's own: `run("serve", models=.., mem_limit="1g")`."""
    with ExitStack() as stack:

        def start(*command: str, **options: Any) -> Container:
            return stack.enter_context(Container(engine, image, *command, **options))

        yield start


@pytest.fixture
def serve(run: MakeContainer, make_model: ModelStore) -> MakeContainer:
    """Start a multi-model server of the test's own, and wait until it is healthy."""

    def start(environment: dict[str, str] | None = None, **options: Any) -> Container:
        given = {"SAGEMAKER_MULTI_MODEL": "true", **(environment or {})}
        options.setdefault("models", make_model.root)
        return run("serve", environment=given, **options).wait_ready()

    return start
