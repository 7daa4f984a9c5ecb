"""The local SageMaker's API behind real HTTP, with backends that only note what they are asked."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import boto3
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from mme_local.app import make_app
from mme_local.aws.clients import Clients
from mme_local.containers.spec import Container, ContainerSpec
from mme_local.control.plane import ControlPlane
from mme_local.control.records import (
    EndpointRecord,
    Invocation,
    InvocationAnswer,
    ResolvedConfig,
    TrainingJob,
)
from mme_local.events import Events
from support.aws import REGION

T = TypeVar("T")
IMAGE = "xgboost-mme:cpu"
MULTI_MODEL = "com.amazonaws.sagemaker.capabilities.multi-models"
ROLE_NAME = "SageMakerRole"
TRUST = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", '
    '"Principal": {"Service": "sagemaker.amazonaws.com"}}]}'
)


class KnownImages:
    """A runtime that knows images' labels, and starts nothing."""

    name = "embedded"

    def __init__(self) -> None:
        self.images: dict[str, dict[str, str]] = {IMAGE: {MULTI_MODEL: "true"}, "plain": {}}
        self.error: Exception | None = None

    async def labels(self, image: str) -> Mapping[str, str] | None:
        if self.error:
            raise self.error
        return self.images.get(image)

    async def start(self, spec: ContainerSpec) -> Container:
        raise AssertionError(f"the API itself starts nothing: {spec}")

    async def close(self) -> None:
        pass


class NotedJobs:
    """Notes what is to be run; the test moves the jobs."""

    def __init__(self) -> None:
        self.started: list[TrainingJob] = []
        self.stopped: list[str] = []
        self.error: Exception | None = None

    async def start(self, job: TrainingJob) -> None:
        if self.error:
            raise self.error
        self.started.append(job)

    async def stop(self, name: str) -> None:
        self.stopped.append(name)


class NotedEndpoints:
    """Notes what is to be hosted; endpoints are in service at once unless `slow`."""

    def __init__(self) -> None:
        self.slow = False
        self.error: Exception | None = None
        self.created: list[EndpointRecord] = []
        self.updated: list[tuple[str, ResolvedConfig]] = []
        self.scaled: list[tuple[str, str, int | None, float | None]] = []
        self.deleted: list[str] = []
        self.may_delete = asyncio.Event()
        self.may_delete.set()

    async def create(self, endpoint: EndpointRecord) -> None:
        self._fail_if_asked()
        self.created.append(endpoint)
        self._serve(endpoint)

    async def update(self, endpoint: EndpointRecord, config: ResolvedConfig) -> None:
        self._fail_if_asked()
        self.updated.append((endpoint.name, config))
        endpoint.config = config
        self._serve(endpoint)

    async def scale(
        self, endpoint: EndpointRecord, variant: str, count: int | None, weight: float | None
    ) -> None:
        self.scaled.append((endpoint.name, variant, count, weight))
        state = endpoint.variants[variant]
        state.desired_count = state.desired_count if count is None else count
        state.desired_weight = state.desired_weight if weight is None else weight
        self._serve(endpoint)

    async def delete(self, name: str) -> None:
        await self.may_delete.wait()
        self._fail_if_asked()
        self.deleted.append(name)

    def _serve(self, endpoint: EndpointRecord) -> None:
        if self.slow:
            return
        for state in endpoint.variants.values():
            state.current_count, state.current_weight = state.desired_count, state.desired_weight
        endpoint.move("InService")

    def _fail_if_asked(self) -> None:
        if self.error:
            raise self.error


class Echo:
    """An invoker that answers with the request's body, or as the test says."""

    def __init__(self) -> None:
        self.seen: list[Invocation] = []
        self.error: Exception | None = None
        self.headers: dict[str, str] = {}

    async def invoke(self, invocation: Invocation) -> InvocationAnswer:
        self.seen.append(invocation)
        if self.error:
            raise self.error
        return InvocationAnswer(invocation.body, "text/csv", "AllTraffic", self.headers)


class LocalApi:
    """The API, and what is behind it."""

    def __init__(self, moto: str, state: Path | None, page: Path) -> None:
        self.images = KnownImages()
        self.jobs = NotedJobs()
        self.endpoints = NotedEndpoints()
        self.invoker = Echo()
        self.events = Events()
        self.plane = ControlPlane(
            Clients(moto, REGION), self.images, self.jobs, self.endpoints, self.events, state
        )
        files = [Mount("/", StaticFiles(directory=page, html=True))] if page.is_dir() else []
        self.app: Starlette = make_app(self.plane, self.invoker, files)
        self.url = ""
        self.loop: asyncio.AbstractEventLoop | None = None

    def on_loop(self, work: Callable[[], T]) -> T:
        """Do something on the API's event loop, and wait for it."""

        async def call() -> T:
            return work()

        return self.wait(call())

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for something that runs on the API's event loop."""
        assert self.loop is not None
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)


class Server:
    """uvicorn on loopback in a thread; what it serves changes from test to test."""

    def __init__(self) -> None:
        # Named TCP, or asyncio leaves Nagle's algorithm on: 40 ms for each answer.
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._listener.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._app: Starlette | None = None
        self._clients: dict[str, Any] = {}
        self._loop = asyncio.new_event_loop()
        config = uvicorn.Config(
            self._serve,
            interface="asgi3",
            lifespan="off",
            log_level="warning",
            timeout_graceful_shutdown=1,
        )
        self._uvicorn = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run)

    def client(self, service: str) -> Any:
        """boto3's own client of a service, at this address."""
        if service not in self._clients:
            self._clients[service] = boto3.client(service, endpoint_url=self.url)
        return self._clients[service]

    @contextmanager
    def serving(
        self, moto: str, state: Path | None = None, page: Path = Path("/none")
    ) -> Iterator[LocalApi]:
        """Serve a new API; leave it, and enter again, for a restart."""

        async def begin() -> LocalApi:
            api = LocalApi(moto, state, page)
            api.loop, api.url = self._loop, self.url
            await api.plane.start()
            self._app = api.app
            return api

        api = asyncio.run_coroutine_threadsafe(begin(), self._loop).result(30)
        try:
            yield api
        finally:
            api.wait(api.plane.close())

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._uvicorn.should_exit = True
        self._thread.join(30)
        self._listener.close()

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        assert self._app is not None
        await self._app(scope, receive, send)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._uvicorn.serve(sockets=[self._listener]))
