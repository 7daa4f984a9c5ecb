from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from mme_local.containers.embedded import EmbeddedRuntime
from mme_local.errors import LocalError
from support.serving import until

AWS_IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
WAITING = "import time; print('waiting', flush=True); time.sleep(60)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + WAITING


def _run(run: Path, work: Callable[[EmbeddedRuntime], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        runtime = EmbeddedRuntime(run, "xgboost-mme:cpu")
        try:
            return await asyncio.wait_for(work(runtime), 120)
        finally:
            await runtime.close()

    return asyncio.run(main())


async def _until_said(lines: list[str], text: str) -> None:
    while text not in lines:
        await asyncio.sleep(0.02)


async def _until_healthy(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        while True:
            try:
                if (await client.get("/ping")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.05)


def _until_ended(processes: list[psutil.Process]) -> None:
    """Zombies have ended: whoever adopts orphans collects them, sooner or later."""

    def ended(process: psutil.Process) -> bool:
        with suppress(psutil.NoSuchProcess):
            return process.status() == psutil.STATUS_ZOMBIE
        return True

    until(lambda: all(ended(process) for process in processes), what="the end of all")


def test_the_environment_is_a_containers(run, make_spec, script, monkeypatch) -> None:
    monkeypatch.setenv("OF_THE_PARENT", "1")
    script()
    lines: list[str] = []
    spec = make_spec(
        "train", lines, environment={"MINE": "1", "CODE": "/opt/ml/code", "TEXT": "a/opt/ml"}
    )

    async def work(runtime: EmbeddedRuntime) -> int:
        container = await runtime.start(spec)
        assert container.ml == str(spec.ml)
        assert container.url == ""
        return await container.wait()

    assert _run(run, work) == 0
    assert "shown" in lines
    seen = json.loads((spec.ml / "model/seen.json").read_text())
    environment = seen["environment"]
    assert environment["MINE"] == "1"
    assert environment["CODE"] == f"{spec.ml}/code"
    assert environment["TEXT"] == "a/opt/ml"
    assert environment["HOME"].startswith(f"{run}/")
    own = {name for name in environment if not name.startswith(("SM_", "SAGEMAKER_"))}
    assert own - {"PYTHONPATH", "LC_CTYPE"} == {
        *("PATH", "HOME", "LANG", "TMPDIR", "PYTHONUNBUFFERED"),
        *("MINE", "CODE", "TEXT"),
    }


def test_the_cpus_are_the_instance_types(run, make_spec, script) -> None:
    script()
    spec = make_spec("train", cpus=1)

    async def work(runtime: EmbeddedRuntime) -> int:
        return await (await runtime.start(spec)).wait()

    assert _run(run, work) == 0
    assert json.loads((spec.ml / "model/seen.json").read_text())["cpus"] == 1


@pytest.mark.parametrize("image", ["xgboost-mme:cpu", AWS_IMAGE])
def test_a_server_answers_on_loopback_alone(run, make_spec, image) -> None:
    lines: list[str] = []
    spec = make_spec(
        "serve", lines, image=image, environment={"SAGEMAKER_MULTI_MODEL": "true"}, cpus=1
    )

    async def work(runtime: EmbeddedRuntime) -> None:
        container = await runtime.start(spec)
        assert container.url.startswith("http://127.0.0.1:")
        await _until_healthy(container.url)
        await _until_said_like(lines, "memory budget 4,295.0 MB, 1 hosts")
        tree = [psutil.Process(container.pid)]
        tree += tree[0].children(recursive=True)
        for process in tree:
            listening = [each for each in process.net_connections() if each.status == "LISTEN"]
            assert all(each.laddr.ip.endswith("127.0.0.1") for each in listening)
        usage = await container.usage()
        assert usage is not None
        assert 50 << 20 < usage.memory < 2 << 30
        assert usage.cpu > 0
        assert await container.stop(30) == 0
        assert await container.usage() is None
        await asyncio.to_thread(_until_ended, tree)

    _run(run, work)
    assert any(str(spec.ml / "models") in line for line in lines)


async def _until_said_like(lines: list[str], text: str) -> None:
    while not any(text in line for line in lines):
        await asyncio.sleep(0.02)


def test_two_servers_at_once_and_what_is_left_is_ended(run, make_spec) -> None:
    async def work(runtime: EmbeddedRuntime) -> list[int]:
        specs = [
            make_spec("serve", name=f"s{n}", environment={"SAGEMAKER_MULTI_MODEL": "true"})
            for n in range(2)
        ]
        containers = [await runtime.start(spec) for spec in specs]
        await asyncio.gather(*(_until_healthy(container.url) for container in containers))
        return [container.pid for container in containers]

    pids = _run(run, work)
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not (run / "tmp").exists()


def test_sigterm_then_sigkill(run, make_spec, script) -> None:
    script(STUBBORN)
    lines: list[str] = []

    async def work(runtime: EmbeddedRuntime) -> int:
        container = await runtime.start(make_spec("train", lines))
        await _until_said(lines, "waiting")
        tree = psutil.Process(container.pid).children(recursive=True)
        status = await container.stop(0.5)
        await asyncio.to_thread(_until_ended, tree)
        assert await container.stop(1) == status
        return status

    assert _run(run, work) == 128 + signal.SIGKILL


def test_an_end_by_a_signal(run, make_spec, script) -> None:
    script(WAITING)
    lines: list[str] = []

    async def work(runtime: EmbeddedRuntime) -> int:
        container = await runtime.start(make_spec("train", lines))
        await _until_said(lines, "waiting")
        os.kill(container.pid, signal.SIGKILL)
        return await container.wait()

    assert _run(run, work) == 137


def test_other_images_need_docker(run, make_spec) -> None:
    async def work(runtime: EmbeddedRuntime) -> None:
        for ask in (runtime.labels("python:3.11"), runtime.start(make_spec("serve", image="x"))):
            with pytest.raises(LocalError, match="needs Docker"):
                await ask
        labels = await runtime.labels(AWS_IMAGE)
        assert labels["com.amazonaws.sagemaker.capabilities.multi-models"] == "true"

    _run(run, work)


def test_hosts_have_addresses_of_their_own(run) -> None:
    async def work(runtime: EmbeddedRuntime) -> None:
        assert (await runtime.hosts("one", 1)).names == ("algo-1",)
        first, second = [await runtime.hosts(name, 2) for name in ("a", "b")]
        assert len({*first.names, *second.names}) == 4
        assert all(name.startswith("127.") for name in first.names)
        assert first.names == tuple(sorted(first.names))
        with pytest.raises(LocalError, match="at most 254 hosts"):
            await runtime.hosts("c", 255)

    _run(run, work)


def test_a_long_path_is_no_place_for_sockets(tmp_path) -> None:
    async def work(runtime: EmbeddedRuntime) -> Path:
        assert len(str(runtime._scratch)) < 30
        return runtime._scratch

    assert not _run(tmp_path / ("x" * 80), work).exists()


_PARENT = """
import asyncio, pathlib, sys
from mme_local.containers.embedded import EmbeddedRuntime
from mme_local.containers.spec import ContainerSpec

async def main(root):
    runtime = EmbeddedRuntime(root / "run", "xgboost-mme:cpu")
    spec = ContainerSpec("s", "xgboost-mme:cpu", "serve", {"SAGEMAKER_MULTI_MODEL": "true"},
                         root / "ml", 4 << 30, 1)
    container = await runtime.start(spec)
    print(container.pid, container.url, flush=True)
    await container.wait()

asyncio.run(main(pathlib.Path(sys.argv[1])))
"""


def test_processes_end_with_a_parent_that_is_killed(run) -> None:
    (run / "ml/models").mkdir(parents=True)
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(run)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        pid, url = parent.stdout.readline().split()
        asyncio.run(asyncio.wait_for(_until_healthy(url), 30))
        tree = [psutil.Process(int(pid)), *psutil.Process(int(pid)).children(recursive=True)]
        parent.kill()
    _until_ended(tree)
