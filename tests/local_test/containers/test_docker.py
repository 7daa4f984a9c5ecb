"""The same containers in a Docker engine."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest

from mme_local.containers.choose import choose
from mme_local.containers.docker import OWNER_LABEL, RUN_LABEL, DockerRuntime
from mme_local.errors import LocalError
from mme_local.settings import LocalSettings

pytestmark = pytest.mark.container

IMAGE = os.environ.get("MME_TEST_IMAGE", "xgboost-mme:cpu")
AWS_IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[docker.DockerClient]:
    """The engine; what a test leaves behind in it is removed."""
    client = docker.from_env()
    yield client
    for container in _ours(client, tmp_path):
        container.remove(force=True, v=True)
    client.close()


def _ours(engine: docker.DockerClient, run: Path) -> list[Any]:
    return engine.containers.list(all=True, filters={"label": f"{RUN_LABEL}={run}"})


def _run(run: Path, work: Callable[[DockerRuntime], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        runtime = await DockerRuntime.connect(run, IMAGE)
        try:
            return await asyncio.wait_for(work(runtime), 240)
        finally:
            await runtime.close()

    return asyncio.run(main())


def test_a_server_is_limited_and_published_on_loopback_alone(tmp_path, make_spec, engine) -> None:
    lines: list[str] = []
    environment = {"SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_BIND_TO_PORT": "9090"}
    spec = make_spec("serve", lines, name="t-serve", image=AWS_IMAGE, environment=environment)
    (spec.ml / "models/seen").mkdir()

    async def work(runtime: DockerRuntime) -> None:
        container = await runtime.start(spec)
        assert container.ml == "/opt/ml"
        async with httpx.AsyncClient(base_url=container.url, trust_env=False) as client:
            while True:
                try:
                    if (await client.get("/ping")).status_code == 200:
                        break
                except httpx.TransportError:
                    await asyncio.sleep(0.1)
        seen = engine.containers.get(container.id)
        host = seen.attrs["HostConfig"]
        assert host["Memory"] == host["MemorySwap"] == 4 << 30
        assert host["NanoCpus"] == min(2, engine.info()["NCPU"]) * 10**9
        (published,) = seen.ports["9090/tcp"]
        assert published["HostIp"] == "127.0.0.1"
        assert container.url == f"http://127.0.0.1:{published['HostPort']}"
        assert seen.exec_run(["ls", "/opt/ml/models"]).output == b"seen\n"
        first = await container.usage()
        assert first is not None
        assert 10 << 20 < first.memory < 4 << 30
        await asyncio.sleep(0.2)
        second = await container.usage()
        assert second is not None
        assert second.cpu >= 0
        while not any("ready on port 9090" in line for line in lines):
            await asyncio.sleep(0.1)
        assert await container.stop(30) == 0
        assert await container.stop(1) == 0
        assert await container.usage() is None

    _run(tmp_path, work)
    assert not _ours(engine, tmp_path)


def test_training_leaves_its_files_here(tmp_path, make_spec, script, engine) -> None:
    script()
    lines: list[str] = []
    spec = make_spec("train", lines, name="t-train", environment={"MINE": "1"})

    async def work(runtime: DockerRuntime) -> int:
        container = await runtime.start(spec)
        assert container.url == ""
        return await container.wait()

    assert _run(tmp_path, work) == 0
    assert "shown" in lines
    seen = json.loads((spec.ml / "model/seen.json").read_text())
    assert seen["environment"]["MINE"] == "1"
    assert seen["environment"]["SM_MODEL_DIR"] == "/opt/ml/model"


def test_sigterm_then_sigkill(tmp_path, make_spec, script, engine) -> None:
    script(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('waiting', flush=True); time.sleep(60)"
    )
    lines: list[str] = []

    async def work(runtime: DockerRuntime) -> int:
        container = await runtime.start(make_spec("train", lines, name="t-stubborn"))
        while "waiting" not in lines:
            await asyncio.sleep(0.05)
        return await container.stop(0.5)

    assert _run(tmp_path, work) == 137


def test_names_of_hosts_lead_to_each_other(tmp_path, make_spec, script, engine) -> None:
    script("import socket; print(len({socket.gethostbyname(f'algo-{n}') for n in (1, 2)}))")
    found: list[list[str]] = [[], []]

    async def work(runtime: DockerRuntime) -> list[int]:
        hosts = await runtime.hosts("t-two", 2)
        assert hosts.names == ("algo-1", "algo-2")
        # The first waits in a server until the second has looked for both.
        serve = {"environment": {"SAGEMAKER_MULTI_MODEL": "true"}, "name": "t-two-1"}
        first = await runtime.start(make_spec("serve", found[0], **serve), hosts.places[0])
        second = await runtime.start(make_spec("train", found[1], name="t-two-2"), hosts.places[1])
        status = await second.wait()
        await asyncio.gather(first.remove(), second.remove())
        await hosts.close()
        assert not engine.networks.list(names=["mme-local-t-two"])
        return status

    assert _run(tmp_path, work) == 0
    assert "2" in found[1]


def test_labels_and_images_that_are_not_there(tmp_path, make_spec, engine) -> None:
    async def work(runtime: DockerRuntime) -> None:
        labels = await runtime.labels(AWS_IMAGE)
        assert labels is not None
        assert labels["com.amazonaws.sagemaker.capabilities.multi-models"] == "true"
        assert await runtime.labels("no-such-image:1") is None
        with pytest.raises(LocalError, match="the Docker engine has no image no-such-image:1"):
            await runtime.start(make_spec("serve", name="t-none", image="no-such-image:1"))

    _run(tmp_path, work)


def test_what_a_killed_run_has_left_is_removed(tmp_path, engine) -> None:
    mine = {RUN_LABEL: str(tmp_path)}
    gone = engine.containers.create(IMAGE, labels={**mine, OWNER_LABEL: "1 5"})
    alive = engine.containers.create(
        IMAGE, labels={**mine, OWNER_LABEL: _owner_of_this_process(tmp_path)}
    )

    async def work(runtime: DockerRuntime) -> None:
        left = {container.id for container in _ours(engine, tmp_path)}
        assert alive.id in left
        assert gone.id not in left

    _run(tmp_path, work)


def _owner_of_this_process(run: Path) -> str:
    async def work(runtime: DockerRuntime) -> str:
        return runtime._labels[OWNER_LABEL]

    return str(_run(run, work))


@pytest.mark.parametrize(
    ("runtime", "image", "name"),
    [
        ("auto", IMAGE, "docker"),
        ("auto", "no-such-image:1", "embedded"),
        ("docker", IMAGE, "docker"),
        ("embedded", IMAGE, "embedded"),
    ],
)
def test_the_choice(tmp_path, engine, runtime, image, name) -> None:
    async def main() -> str:
        chosen = await choose(LocalSettings(run=tmp_path, runtime=runtime, image=image))
        await chosen.close()
        return chosen.name

    assert asyncio.run(main()) == name


def test_docker_without_the_image_is_explained(tmp_path, engine) -> None:
    settings = LocalSettings(run=tmp_path, runtime="docker", image="no-such-image:1")
    with pytest.raises(LocalError, match="no image no-such-image:1"):
        asyncio.run(choose(settings))
