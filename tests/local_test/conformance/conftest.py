"""A small multi-model server that keeps the contract, and can be told to break it."""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

sys.path.insert(0, str(Path(__file__).parents[2]))

from support.serving import free_port, until

PAGE = 100


class MultiModelServer:
    """Keeps the contract but for its `faults`; a model is a directory with a ``model.ubj``."""

    def __init__(self, *faults: str) -> None:
        self.faults = set(faults)
        self.models: dict[str, str] = {}
        self.loading = 0
        self.app = Starlette(
            routes=[
                Route("/ping", self.ping),
                Route("/models", self.load, methods=["POST"]),
                Route("/models", self.page),
                Route("/models/{name}", self.unload, methods=["DELETE"]),
                Route("/models/{name}", self.get),
                Route("/models/{name}/invoke", self.invoke, methods=["POST"]),
            ]
        )

    async def ping(self, request: Request) -> Response:
        if "slow ping" in self.faults:
            await run_in_threadpool(time.sleep, 2.2)
        return Response(status_code=503 if "ping" in self.faults else 200)

    async def page(self, request: Request) -> Response:
        if "no list" in self.faults:
            return Response(status_code=404)
        if "not a list" in self.faults:
            return JSONResponse([])
        start = int(request.query_params.get("next_page_token", 0))
        end = start + PAGE
        names = sorted(self.models)
        url = "modelURL" if "list" in self.faults else "modelUrl"
        body: dict[str, object] = {
            "models": [{"modelName": each, url: self.models[each]} for each in names[start:end]]
        }
        if end < len(names) and "no token" not in self.faults:
            body["nextPageToken"] = str(end - ("overlap" in self.faults))
        if "endless" in self.faults:
            body["nextPageToken"] = "0"
        return JSONResponse(body)

    async def load(self, request: Request) -> Response:
        model = await request.json()
        name, url = model["model_name"], Path(model["url"])
        if name in self.models and "twice" not in self.faults:
            return self.error(409, "already loaded")
        if "directory is key" in self.faults and str(url) in self.models.values():
            return self.error(409, "that directory is loaded")
        if "lazy" in self.faults:
            self.models[name] = str(url)
            return JSONResponse({})
        if not (url / "model.ubj").exists():
            if "zombie" in self.faults:
                self.models[name] = str(url)
            if "zombie for a moment" in self.faults:
                self.models[name] = str(url)
                threading.Timer(0.3, self.models.pop, [name, None]).start()
            return self.error(200 if "takes all" in self.faults else 404, "nothing to load")
        self.loading += 1
        if "loads stop others" in self.faults:
            await run_in_threadpool(time.sleep, 0.05)
        elif "one load at a time" in self.faults:
            await run_in_threadpool(time.sleep, 0.1)
            if self.loading > 1:
                self.loading -= 1
                return self.error(503, "busy")
        self.loading -= 1
        self.models[name] = str(url)
        return JSONResponse({"status": "loaded"})

    async def get(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self.models and "get" not in self.faults:
            return self.error(404, "not loaded")
        key = "name" if "shape" in self.faults else "modelName"
        return JSONResponse({key: name, "modelUrl": self.models.get(name)})

    async def unload(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self.models and "unload" not in self.faults:
            return self.error(404, "not loaded")
        if "stays" not in self.faults:
            self.models.pop(name, None)
        return JSONResponse({})

    async def invoke(self, request: Request) -> Response:
        name, body = request.path_params["name"], await request.body()
        if name not in self.models:
            return self.error(503 if "invoke" in self.faults else 404, "not loaded")
        if "lazy" in self.faults or ("loads stop others" in self.faults and self.loading):
            return self.error(503, "not ready")
        if "headers" in self.faults and "x-nobody-knows" in request.headers:
            return self.error(400, "unknown header")
        attributes = request.headers.get("x-amzn-sagemaker-custom-attributes", "")
        if "attributes" in self.faults and len(attributes) > 500:
            return self.error(431, "too long")
        if len(body) > 20e6 and "large" in self.faults:
            return self.error(500, "out of memory")
        if len(body) > 20e6 and "large harms" in self.faults:
            self.models.clear()
            return self.error(413, "too large")
        if "inference.py" in "".join(map(str, Path(self.models[name]).glob("code/*"))):
            read = body.strip() if "bytes" in self.faults else body
            return PlainTextResponse(hashlib.sha256(read).hexdigest())
        if not body.strip() or b"<" in body:
            return self.error(500 if "bad body" in self.faults else 400, "no body")
        kind = "application/json" if "type" in self.faults else "text/csv"
        return Response(b"454162.88\n" * min(body.count(b"\n"), 10), media_type=kind)

    @staticmethod
    def error(status: int, message: str) -> Response:
        return JSONResponse({"message": message}, status)


@contextmanager
def serving(server: MultiModelServer) -> Iterator[str]:
    """Its URL, while it runs."""
    port = free_port()
    config = uvicorn.Config(server.app, host="127.0.0.1", port=port, log_level="warning")
    uvicorn_server = uvicorn.Server(config)
    thread = threading.Thread(target=uvicorn_server.run)
    thread.start()
    try:
        until(lambda: uvicorn_server.started)
        yield f"http://127.0.0.1:{port}"
    finally:
        uvicorn_server.should_exit = True
        thread.join(10)


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """`serve("fault", ...)` starts a server with these faults and returns its URL."""
    with ExitStack() as stack:
        yield lambda *faults: stack.enter_context(serving(MultiModelServer(*faults)))
