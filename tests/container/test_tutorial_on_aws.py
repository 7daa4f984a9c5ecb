"""The tutorial's second part, as it is typed on AWS, with a real engine and a real registry.

AWS is the local SageMaker's: nothing in the commands says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.clients import AWS_CLI, programs
from support.local_up import Local, environment, up
from support.registries import ECR_LOGIN, docker_registry
from support.tutorial import blocks, not_said, run

pytestmark = [pytest.mark.container, pytest.mark.slow]


@pytest.fixture
def local(tmp_path: Path, image: str) -> Iterator[Local]:
    more = {"MME_LOCAL_RUNTIME": "docker", "MME_LOCAL_IMAGE": image}
    with up(tmp_path, **more) as running:
        yield running


@pytest.fixture
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with docker_registry(tmp_path_factory.mktemp("registry"), ECR_LOGIN) as host:
        yield host


def test_the_second_part_with_a_registry(local: Local, registry: str, tmp_path: Path) -> None:
    own, shared = [], []
    for block in blocks():
        if block.heading == "On AWS":
            own.append(block)
        elif shared or block.heading == "Ten models, trained":
            shared.append(block)
    shared = [block for block in shared if block.heading != "The end"]
    directory = tmp_path / "work"
    directory.mkdir()
    path = f"{os.environ['PATH']}:{programs(AWS_CLI)}"
    surroundings = environment(local.run, MME_ECR_REGISTRY=registry, PATH=path)
    typed = [*own, *shared]
    said = run(typed, directory, surroundings, within=("mme", "local", "exec", "--"))
    for block, heard in zip(shared, said[len(own) :], strict=True):
        assert not list(not_said(block, heard)), f"{block.commands}\nsaid:\n{heard}"
    assert ": pushed" in said[0]
    assert "role/houses exists, and SageMaker may assume it" in said[0]
