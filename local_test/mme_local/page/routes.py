"""The page's routes: its files at ``/`` and ``/_mme/page``, its data at ``/_mme``.

Nothing here knows where the data are from. What the page shows is named by clients of SageMaker,
so the policy that goes with every answer allows no script and no style but the page's own files.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import orjson
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mme_local.events import Events

STATIC: Final = Path(__file__).with_name("static")
HEADERS: Final = {
    "cache-control": "no-cache",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
"""Go with every answer of these routes."""

_HEARTBEAT_SECONDS: Final = 15.0


class Logs(Protocol):
    """Where lines of logs come from; `LogTail` is it."""

    async def tail(self, group: str, stream: str, after: str | None) -> dict[str, Any]:
        """The lines after those that `after` stands for, and what stands for these."""


def page_routes(
    state: Callable[[], Mapping[str, Any]],
    events: Events,
    logs: Logs,
    stopping: asyncio.Event,
) -> list[BaseRoute]:
    """Routes for the application.

    Args:
        state: gives what ``/_mme/state`` answers; called on the event loop.
        events: those that ``/_mme/events`` sends on as they come.
        logs: what ``/_mme/logs`` reads.
        stopping: set to end ``/_mme/events``, which a server that stops would wait for.
    """

    async def index(request: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    async def answer_state(request: Request) -> Response:
        return _json(state())

    async def answer_events(request: Request) -> Response:
        return StreamingResponse(server_sent(events, stopping), media_type="text/event-stream")

    async def answer_logs(request: Request) -> Response:
        query = request.query_params
        if not query.get("group") or "stream" not in query:
            return _json({"message": "/_mme/logs needs ?group= and &stream="}, status=400)
        return _json(await logs.tail(query["group"], query["stream"], query.get("after")))

    headed = [Middleware(_Headed)]
    return [
        Route("/", index, middleware=headed),
        Route("/_mme/state", answer_state, middleware=headed),
        Route("/_mme/events", answer_events, middleware=headed),
        Route("/_mme/logs", answer_logs, middleware=headed),
        Mount("/_mme/page", StaticFiles(directory=STATIC), middleware=headed),
    ]


async def server_sent(
    events: Events, stopping: asyncio.Event, heartbeat: float = _HEARTBEAT_SECONDS
) -> AsyncGenerator[bytes, None]:
    """Events as a browser's EventSource reads them; a comment where none came for a while."""
    listener = events.listen()
    coming = asyncio.ensure_future(anext(listener))
    stopped = asyncio.ensure_future(stopping.wait())
    await asyncio.sleep(0)  # lets both begin: what happens from here on is heard
    try:
        yield b": connected\n\n"
        while not stopped.done():
            await asyncio.wait(
                [coming, stopped], timeout=heartbeat, return_when=asyncio.FIRST_COMPLETED
            )
            if coming.done():
                yield b"data: " + orjson.dumps(coming.result(), default=str) + b"\n\n"
                coming = asyncio.ensure_future(anext(listener))
            elif not stopped.done():
                yield b": nothing new\n\n"
    finally:
        # Ends `listen` where it waits, which takes its queue away.
        coming.cancel()
        stopped.cancel()
        await asyncio.gather(coming, stopped, return_exceptions=True)


class _Headed:
    """An application whose answers carry `HEADERS`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        await self._app(scope, receive, send_headed)


def _json(value: Mapping[str, Any], status: int = 200) -> Response:
    body = orjson.dumps(value, default=str)
    return Response(body, status_code=status, media_type="application/json")
