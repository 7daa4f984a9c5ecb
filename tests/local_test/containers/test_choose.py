from __future__ import annotations

import asyncio

import pytest

from mme_local.containers.choose import choose
from mme_local.errors import LocalError
from mme_local.settings import LocalSettings


@pytest.fixture(autouse=True)
def no_engine(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")


def _choose(settings: LocalSettings) -> str:
    async def main() -> str:
        runtime = await choose(settings)
        await runtime.close()
        return runtime.name

    return asyncio.run(main())


def test_without_an_engine_processes_stand_for_containers(tmp_path) -> None:
    assert _choose(LocalSettings(run=tmp_path)) == "embedded"


def test_docker_without_an_engine_is_explained(tmp_path) -> None:
    with pytest.raises(LocalError, match="the Docker engine cannot be used"):
        _choose(LocalSettings(run=tmp_path, runtime="docker"))
