"""What the platform of the local SageMaker runs on in tests: AWS around it, and containers.

`ServeRuntime` starts the real ``mme serve``. `ScriptedRuntime` serves the container's contract
itself, with the faults that a test asks for, and is there in milliseconds.
"""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
import tarfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from mme_local.aws.clients import Clients
from mme_local.containers.spec import ContainerSpec, Usage
from mme_local.control.records import EndpointRecord, Invocation, ResolvedConfig, ResolvedVariant
from mme_local.platform.context import Context
from mme_local.platform.endpoint import EndpointManager
from mme_local.platform.invoke import Invoker
from mme_local.settings import ROLE_ARN, PlatformParameters
from mme_local.telemetry.log_streams import LogStreams
from mme_local.telemetry.metrics import Metrics
from support.scripted_containers import ScriptedRuntime
from support.serving import free_port

REGION = "us-east-1"
BUCKET = "models"


@dataclass(frozen=True)
class Machine:
    """An instance type."""

    vcpus: int = 2
    memory: int = 2 << 30


def archive_of(files: Mapping[str, bytes]) -> bytes:
    """A model's archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as file:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


class Store:
    """The bucket that models come from."""

    def __init__(self, clients: Clients) -> None:
        self.s3 = clients.client("s3")
        self.s3.create_bucket(Bucket=BUCKET)  # again is no error in us-east-1

    def put(self, target: str, content: bytes | None = None, prefix: str = "many/") -> str:
        """Upload an archive; by default one that a scripted container takes."""
        body = archive_of({"model.txt": target.encode()}) if content is None else content
        self.s3.put_object(Bucket=BUCKET, Key=prefix + target, Body=body)
        return target


def variant(
    name: str = "AllTraffic",
    *,
    url: str = f"s3://{BUCKET}/many/",
    count: int = 1,
    weight: float = 1.0,
    many: bool = True,
    cache: bool = True,
    startup: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> ResolvedVariant:
    """A production variant."""
    return ResolvedVariant(
        name=name,
        model_name="model",
        image="image",
        environment=environment or {},
        model_data_url=url,
        multi_model=many,
        cache_models=cache,
        instance_type="ml.t2.medium",
        initial_count=count,
        weight=weight,
        startup_seconds=startup,
        role_arn=ROLE_ARN,
    )


def config(*variants: ResolvedVariant, name: str = "config") -> ResolvedConfig:
    return ResolvedConfig(name, variants or (variant(),))


def record(*variants: ResolvedVariant, name: str = "houses") -> EndpointRecord:
    arn = f"arn:aws:sagemaker:{REGION}:123456789012:endpoint/{name}"
    return EndpointRecord(name, arn, config(*variants))


def invocation(
    target: str | None, body: bytes = b"1", endpoint: str = "houses", **rest: Any
) -> Invocation:
    headers = {"content-type": "text/csv", **rest.pop("headers", {})}
    if target is not None:
        headers["x-amzn-sagemaker-target-model"] = target
    return Invocation(endpoint, body, headers, target, **rest)


# -- Containers that are real ---------------------------------------------------------------------


class ServeContainer:
    """A real ``mme serve``."""

    def __init__(self, spec: ContainerSpec, port: int, process: asyncio.subprocess.Process) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.ml = str(spec.ml)
        self.process = process
        self._tree: dict[int, psutil.Process] = {}
        self._output = asyncio.create_task(self._read(spec.write_line))

    async def _read(self, write_line: Callable[[str], None]) -> None:
        assert self.process.stdout
        async for line in self.process.stdout:
            write_line(line.decode(errors="replace").rstrip("\n"))

    def _processes(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            top = psutil.Process(self.process.pid)
            for process in [top, *top.children(recursive=True)]:
                self._tree[process.pid] = process
        return list(self._tree.values())

    def kill(self) -> None:
        """End the whole tree at once, as the kernel would for lack of memory."""
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()

    async def wait(self) -> int:
        status = await self.process.wait()
        return status if status >= 0 else 128 - status

    async def stop(self, within: float) -> int:
        self._processes()
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self.process.wait(), within)
            except TimeoutError:
                self.kill()
        return await self.wait()

    async def usage(self) -> Usage | None:
        if self.process.returncode is not None:
            return None
        total = 0
        for process in self._processes():
            with suppress(OSError):
                text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
                total += int(text.partition("\nPss:")[2].split()[0]) << 10
        return Usage(total, 0.0)

    async def remove(self) -> None:
        await self.stop(10)
        self.kill()
        await self._output


class ServeRuntime:
    """Starts the real ``mme serve`` as processes."""

    name = "processes"

    def __init__(self, **settings: str) -> None:
        self.settings = settings
        self.containers: list[ServeContainer] = []

    async def labels(self, image: str) -> Mapping[str, str] | None:
        return {"com.amazonaws.sagemaker.capabilities.multi-models": "true"}

    async def start(self, spec: ContainerSpec) -> ServeContainer:
        port = free_port()
        own = {
            "SAGEMAKER_BIND_TO_PORT": str(port),
            "MME_ADDRESS": "127.0.0.1",
            "MME_METRICS_PORT": "0",
            "MME_MODELS": str(spec.ml / "models"),
            "MME_MODEL": str(spec.ml / "model"),
            "MME_MEMORY_BUDGET": str(spec.memory),
            "MME_LOG_FORMAT": "json",
        }
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MME_", "SAGEMAKER_"))
        }
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("mme")),
            "serve",
            env={**clean, **own, **spec.environment, **self.settings},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        container = ServeContainer(spec, port, process)
        self.containers.append(container)
        return container

    async def close(self) -> None:
        for container in self.containers:
            await container.remove()


# -- All of it ------------------------------------------------------------------------------------


@dataclass
class Platform:
    """A platform that runs, and what a test looks at."""

    context: Context
    manager: EndpointManager
    invoker: Invoker
    store: Store

    async def deploy(self, endpoint: EndpointRecord) -> EndpointRecord:
        """Create an endpoint that must come into service."""
        await self.manager.create(endpoint)
        await self.settle(endpoint)
        assert endpoint.status == "InService", endpoint.failure_reason
        return endpoint

    async def settle(self, endpoint: EndpointRecord) -> None:
        """Wait until the endpoint is in between no longer."""
        hosted = self.manager.find(endpoint.name)
        assert hosted
        assert hosted.task
        await hosted.task

    async def ask(self, target: str | None, body: bytes = b"1", **rest: Any) -> str:
        """Invoke, and return the answer's text."""
        answer = await self.invoker.invoke(invocation(target, body, **rest))
        return answer.body.decode()

    def kinds(self, kind: str) -> list[dict[str, Any]]:
        """The events of a kind."""
        return [event for event in self.context.events.recent if event["kind"] == kind]

    def unloaded(self) -> list[str]:
        """The target models that were unloaded, in order."""
        return [event["target_model"] for event in self.kinds("model unloaded")]


@asynccontextmanager
async def platform(
    endpoint: str,
    run: Path,
    runtime: ScriptedRuntime | ServeRuntime,
    machine: Machine = Machine(),
    **parameters: Any,
) -> AsyncIterator[Platform]:
    """A platform on moto's server at `endpoint`."""
    clients = Clients(endpoint, REGION)
    parameters.setdefault("poll_seconds", 0.2)
    context = Context(
        runtime=runtime,
        clients=clients,
        region=REGION,
        run=run,
        instance_type=lambda _: machine,
        metrics=Metrics(clients),
        logs=LogStreams(clients),
        parameters=PlatformParameters(**parameters),
    )
    manager = EndpointManager(context)
    store = await asyncio.to_thread(Store, clients)
    try:
        yield Platform(context, manager, Invoker(manager), store)
    finally:
        await manager.close()
        await context.metrics.close()
        await context.logs.close()
        await runtime.close()
