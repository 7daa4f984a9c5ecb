"""What the platform of the local SageMaker runs on in tests: AWS around it, and containers.

`ServeRuntime` starts the real ``mme serve``. `ScriptedRuntime` serves the container's contract
itself, with the faults that a test asks for, and is there in milliseconds.
"""

from __future__ import annotations

import asyncio
import io
import os
import signal
import socket
import sys
import tarfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mme_local.aws.clients import Clients
from mme_local.containers.spec import ContainerSpec, Usage
from mme_local.control.records import EndpointRecord, Invocation, ResolvedConfig, ResolvedVariant
from mme_local.platform.context import Context
from mme_local.platform.endpoint import EndpointManager
from mme_local.platform.invoke import Invoker
from mme_local.settings import ROLE_ARN, PlatformParameters
from mme_local.telemetry.log_streams import LogStreams
from mme_local.telemetry.metrics import Metrics
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


# -- Containers that do as they are told ----------------------------------------------------------


@dataclass
class Script:
    """How scripted containers behave; a test changes it as it goes."""

    capacity: int = 1 << 30
    """Models that a container has memory for."""
    load_seconds: float = 0.0
    invoke_seconds: float = 0.0
    load_status: int = 0
    """Answer to every load, if not 0."""
    invoke_status: int = 0
    unload_status: int = 0
    ping_status: int = 200
    models_status: int = 200
    never_ready: bool = False
    end_at_once: bool = False
    memory: int = 1 << 20
    log: list[tuple[str, str]] = field(default_factory=list)
    """What was asked of containers: ``("load", name)``."""


class ScriptedContainer:
    """A container's HTTP, served on this loop."""

    def __init__(self, spec: ContainerSpec, script: Script) -> None:
        self.spec = spec
        self.script = script
        self.ml = str(spec.ml)
        self.loaded: dict[str, str] = {}
        self.posting: set[str] = set()
        self.most_posting = 0
        self.requests: list[dict[str, str]] = []
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        app = Starlette(
            routes=[
                Route("/ping", self._ping),
                Route("/models", self._list),
                Route("/models", self._load, methods=["POST"]),
                Route("/models/{name}", self._get, methods=["GET"]),
                Route("/models/{name}", self._unload, methods=["DELETE"]),
                Route("/models/{name}/invoke", self._invoke, methods=["POST"]),
                Route("/invocations", self._invoke, methods=["POST"]),
            ]
        )
        options = uvicorn.Config(app, log_config=None, lifespan="off", timeout_keep_alive=60)
        self._server = uvicorn.Server(options)
        self._server.install_signal_handlers = lambda: None  # type: ignore[method-assign]
        self._task = asyncio.create_task(self._server._serve([self._socket]))
        spec.write_line("serving")
        if script.end_at_once:
            self.die()

    def die(self, status: int = 137) -> None:
        """End as a killed process does: connections break."""
        if not self._ended.done():
            self._ended.set_result(status)
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()
        for server in getattr(self._server, "servers", []):
            server.close()
        self._server.should_exit = self._server.force_exit = True

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    async def stop(self, within: float) -> int:
        self.die(0)
        await self._task
        return self._ended.result()

    async def usage(self) -> Usage | None:
        return None if self._ended.done() else Usage(self.script.memory, 0.5)

    async def remove(self) -> None:
        await self.stop(0)

    async def _ping(self, _: Request) -> Response:
        return Response(status_code=503 if self.script.never_ready else self.script.ping_status)

    async def _list(self, _: Request) -> Response:
        return JSONResponse({"models": []}, self.script.models_status)

    async def _load(self, request: Request) -> Response:
        asked = await request.json()
        name = asked["model_name"]
        self.script.log.append(("load", name))
        self.posting.add(name)
        self.most_posting = max(self.most_posting, len(self.posting))
        try:
            await asyncio.sleep(self.script.load_seconds)
        finally:
            self.posting.discard(name)
        if self.script.load_status:
            return Response(b"load failed", self.script.load_status)
        if name in self.loaded:
            return Response(status_code=409)
        if len(self.loaded) >= self.script.capacity:
            return Response(b"no room", 507)
        self.loaded[name] = (Path(asked["url"]) / "model.txt").read_text()
        return JSONResponse({"status": "loaded"})

    async def _get(self, request: Request) -> Response:
        return Response(status_code=200 if request.path_params["name"] in self.loaded else 404)

    async def _unload(self, request: Request) -> Response:
        name = request.path_params["name"]
        self.script.log.append(("unload", name))
        if self.script.unload_status:
            return Response(status_code=self.script.unload_status)
        return Response(status_code=200 if self.loaded.pop(name, None) is not None else 404)

    async def _invoke(self, request: Request) -> Response:
        name = request.path_params.get("name")
        body = await request.body()
        self.requests.append(dict(request.headers))
        await asyncio.sleep(self.script.invoke_seconds)
        if self.script.invoke_status:
            return Response(b"it failed", self.script.invoke_status)
        if name is not None and name not in self.loaded:
            return Response(b"no such model", 404)
        model = self.loaded[name] if name else (self.spec.ml / "model/model.txt").read_text()
        headers = {"x-amzn-sagemaker-custom-attributes": "seen", "x-other": "kept"}
        return Response(f"{model} {body.decode()}".encode(), 200, headers, "text/csv")


class ScriptedRuntime:
    """Starts scripted containers, and knows all of them."""

    name = "scripted"

    def __init__(self) -> None:
        self.script = Script()
        self.containers: list[ScriptedContainer] = []

    async def labels(self, image: str) -> Mapping[str, str] | None:
        return {}

    async def start(self, spec: ContainerSpec) -> ScriptedContainer:
        container = ScriptedContainer(spec, self.script)
        self.containers.append(container)
        return container

    async def close(self) -> None:
        for container in self.containers:
            await container.remove()


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
