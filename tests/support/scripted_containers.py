"""Containers of the local SageMaker that do as they are told, faults included."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mme_local.containers.spec import ContainerSpec, Usage


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
