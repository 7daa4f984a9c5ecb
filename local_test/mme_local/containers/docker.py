"""Containers in Docker, mounted and limited as SageMaker's are, published on loopback alone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import docker
import psutil
import requests
from docker.errors import APIError, DockerException, ImageNotFound, NotFound

from mme_local.containers import images
from mme_local.containers.hosts import Hosts, Place, names
from mme_local.containers.lines import Lines
from mme_local.containers.spec import ContainerSpec, Usage
from mme_local.errors import LocalError
from mme_local.settings import ADDRESS

ML: Final = "/opt/ml"
RUN_LABEL: Final = "xgboost-mme.local.run"
"""Label of our containers and networks: the run directory."""
OWNER_LABEL: Final = "xgboost-mme.local.owner"
"""Label: the process that has made them, and when it was started."""
_PREFIX: Final = "mme-local-"
_PORT: Final = 8080
_TIMEOUT: Final = 120
"""Seconds that the engine may take for a call; SageMaker's largest grace period is as long."""


class DockerRuntime:
    """Runs images that the engine has; see `connect`.

    Args:
        client: of the engine.
        run: the run directory, by which leftovers of a killed run are known.
        image: what stands for AWS's XGBoost image and ours in ECR, `LocalSettings.image`.
    """

    name = "docker"

    def __init__(self, client: docker.DockerClient, run: Path, image: str) -> None:
        self._client = client
        self._image = image
        self._labels = {RUN_LABEL: str(run.absolute()), OWNER_LABEL: _owner(os.getpid())}
        self._cpus = int(client.info()["NCPU"])
        self._containers: set[DockerContainer] = set()

    @classmethod
    async def connect(cls, run: Path, image: str) -> DockerRuntime:
        """Find the engine that the environment names, and remove what a killed run has left in it.

        Raises:
            LocalError: no engine answers, and why.
        """

        def connect() -> DockerRuntime:
            with _explained("the Docker engine cannot be used"):
                runtime = cls(docker.from_env(timeout=_TIMEOUT), run, image)
                runtime._remove_leftovers()
                return runtime

        return await asyncio.to_thread(connect)

    async def labels(self, image: str) -> Mapping[str, str] | None:
        """The labels of the local image; None when the engine has none.

        Raises:
            LocalError: the engine does not answer.
        """

        def read() -> Mapping[str, str] | None:
            try:
                found = self._client.images.get(images.resolve(image, self._image))
            except ImageNotFound:
                return None
            return dict(found.labels)

        with _explained(f"the image {image} cannot be looked up"):
            return await asyncio.to_thread(read)

    async def hosts(self, job: str, count: int) -> Hosts:
        """SageMaker's names; several hosts get a network in which these resolve.

        Raises:
            LocalError: the network cannot be made.
        """
        if count == 1:
            return Hosts(names(1), "eth0")
        network = f"{_PREFIX}{job}"
        with _explained(f"no network can be made for {job}"):
            made = await asyncio.to_thread(
                self._client.networks.create, network, driver="bridge", labels=self._labels
            )

        async def close() -> None:
            with contextlib.suppress(DockerException, requests.RequestException):
                await asyncio.to_thread(made.remove)

        return Hosts(names(count), "eth0", network, close)

    async def start(self, spec: ContainerSpec, place: Place | None = None) -> DockerContainer:
        """Create and start a container.

        Raises:
            LocalError: there is no such image, or the engine refuses.
        """
        loop = asyncio.get_running_loop()
        starting = asyncio.ensure_future(asyncio.to_thread(self._start, spec, place, loop))
        try:
            container = await asyncio.shield(starting)
        except asyncio.CancelledError:  # the thread goes on, and what it starts is to end
            with contextlib.suppress(LocalError):
                await (await starting).remove()
            raise
        self._containers.add(container)
        return container

    async def close(self) -> None:
        """Remove every container that is left."""
        await asyncio.gather(*(container.remove() for container in list(self._containers)))
        await asyncio.to_thread(self._client.close)

    def _start(
        self, spec: ContainerSpec, place: Place | None, loop: asyncio.AbstractEventLoop
    ) -> DockerContainer:
        with _explained(f"{spec.name} cannot be started"):
            try:
                made = self._client.containers.create(
                    images.resolve(spec.image, self._image), **self._options(spec, place)
                )
            except ImageNotFound:
                raise LocalError(images.missing(spec.image, self._image)) from None
            try:
                made.start()
                made.reload()
            except BaseException:
                made.remove(force=True, v=True)
                raise
        return DockerContainer(spec, made, loop, self._containers.discard)

    def _options(self, spec: ContainerSpec, place: Place | None) -> dict[str, Any]:
        options: dict[str, Any] = {
            "command": [spec.command],
            "name": f"{_PREFIX}{spec.name}",
            "environment": dict(spec.environment),
            "volumes": {str(spec.ml.absolute()): {"bind": ML, "mode": "rw"}},
            "mem_limit": spec.memory,
            "memswap_limit": spec.memory,  # As much as the memory: no swap at all.
            # The engine refuses more than there are.
            "nano_cpus": min(spec.cpus, self._cpus) * 10**9,
            "labels": self._labels,
        }
        if spec.command == "serve":
            options["ports"] = {f"{_port(spec)}/tcp": (ADDRESS, None)}
        if place:
            options |= {"hostname": place.host}
        if place and place.network:
            alias = self._client.api.create_endpoint_config(aliases=[place.host])
            options |= {"network": place.network, "networking_config": {place.network: alias}}
        return options

    def _remove_leftovers(self) -> None:
        """Remove what processes that are gone have made for the same run directory."""
        mine = {"label": f"{RUN_LABEL}={self._labels[RUN_LABEL]}"}
        for container in self._client.containers.list(all=True, filters=mine):
            if not _lives(container.labels.get(OWNER_LABEL, "")):
                with contextlib.suppress(NotFound):
                    container.remove(force=True, v=True)
        for network in self._client.networks.list(filters=mine):
            if not _lives(network.attrs.get("Labels", {}).get(OWNER_LABEL, "")):
                with contextlib.suppress(APIError):
                    network.remove()


class DockerContainer:
    """One container of the engine."""

    ml = ML

    def __init__(
        self,
        spec: ContainerSpec,
        container: Any,
        loop: asyncio.AbstractEventLoop,
        removed: Any,
    ) -> None:
        self._container = container
        self._removed = removed
        self._ended: asyncio.Future[int] = loop.create_future()
        self._used: tuple[float, float] | None = None
        self.url = _url(spec, container)
        follow = partial(self._follow, Lines(spec.write_line), loop)
        # Not one of asyncio's threads: there are few, and this one waits as long as it lives.
        threading.Thread(target=follow, name=container.name, daemon=True).start()

    @property
    def id(self) -> str:
        """The engine's name for it."""
        return str(self._container.id)

    async def wait(self) -> int:
        """The exit status, once all output is read."""
        return await asyncio.shield(self._ended)

    async def stop(self, within: float) -> int:
        """Send SIGTERM, and SIGKILL after `within` seconds, as ``docker stop`` does."""
        with contextlib.suppress(LocalError), _explained("it cannot be stopped"):
            await asyncio.to_thread(self._container.kill, signal="SIGTERM")
        try:
            return await asyncio.wait_for(self.wait(), within)
        except TimeoutError:
            with contextlib.suppress(LocalError), _explained("it cannot be killed"):
                await asyncio.to_thread(self._container.kill)
        return await self.wait()

    async def usage(self) -> Usage | None:
        """What its control group takes, without pages of files that were not used lately."""
        if self._ended.done():
            return None
        try:
            stats = await asyncio.to_thread(
                self._container.client.api.stats, self.id, stream=False, one_shot=True
            )
        except (DockerException, requests.RequestException):
            return None
        memory = stats["memory_stats"]
        if "usage" not in memory:
            return None
        details = memory.get("stats", {})
        idle = details.get("inactive_file", details.get("total_inactive_file", 0))
        return Usage(max(memory["usage"] - idle, 0), self._cpu(stats))

    async def remove(self) -> None:
        """Remove it, running or not."""
        with contextlib.suppress(LocalError), _explained("it cannot be removed"):
            await asyncio.to_thread(self._container.remove, force=True, v=True)
        self._removed(self)

    def _cpu(self, stats: Mapping[str, Any]) -> float:
        """CPUs since the last look; 0 at the first."""
        now, spent = time.monotonic(), stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9
        last, self._used = self._used, (now, spent)
        return max((spent - last[1]) / max(now - last[0], 1e-3), 0.0) if last else 0.0

    def _follow(self, lines: Lines, loop: asyncio.AbstractEventLoop) -> None:
        status = 137  # Removed while it ran, which is SIGKILL.
        # RuntimeError: the loop that takes the lines is closed.
        with contextlib.suppress(DockerException, requests.RequestException, RuntimeError):
            for piece in self._container.logs(stream=True, follow=True):
                lines.feed(piece)
            lines.close()
            status = int(self._container.wait()["StatusCode"])
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._end, status)

    def _end(self, status: int) -> None:
        if not self._ended.done():
            self._ended.set_result(status)


def _port(spec: ContainerSpec) -> int:
    return int(spec.environment.get("SAGEMAKER_BIND_TO_PORT", _PORT))


def _url(spec: ContainerSpec, container: Any) -> str:
    bound = container.ports.get(f"{_port(spec)}/tcp") if spec.command == "serve" else None
    return f"http://{ADDRESS}:{bound[0]['HostPort']}" if bound else ""


def _owner(pid: int) -> str:
    return f"{pid} {psutil.Process(pid).create_time():.0f}"


def _lives(owner: str) -> bool:
    pid = owner.partition(" ")[0]
    with contextlib.suppress(psutil.Error):
        return pid.isdecimal() and _owner(int(pid)) == owner
    return False


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Raise `LocalError` with the engine's reason."""
    try:
        yield
    except APIError as error:
        raise LocalError(f"{what}: {error.explanation or error}") from error
    except (DockerException, requests.RequestException) as error:
        raise LocalError(f"{what}: {error}; is the engine running?") from error
