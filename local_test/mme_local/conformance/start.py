"""How a container comes up, and what it is asked before it has a model."""

from __future__ import annotations

import socket
import statistics
import time
from typing import Any
from urllib.parse import urlsplit

from mme_local.conformance import clauses
from mme_local.conformance.registry import Doubtful, Seen, check, expect
from mme_local.conformance.server import CONNECT_WITHIN, PING_WITHIN, Server
from mme_local.conformance.target import Target

_OTHER_PORT = 9191
_PINGS = 20
STARTS_WITHIN = 8 * 60.0
"""Seconds that SageMaker waits for a container."""


@check(
    "start.healthy",
    clauses.PING,
    f"`docker run IMAGE serve` answers /ping and /models with 200 within {STARTS_WITHIN:.0f} s, "
    "without a model",
)
def healthy(target: Target) -> str:
    """An endpoint is not created otherwise."""
    seconds = target.first_start()
    return f"after {seconds:.1f} s" if seconds else "both 200"


@check(
    "start.models", clauses.MODELS_IS_HEALTH, "GET /models is 200 with a list, here an empty one"
)
def models_is_health(target: Target) -> str:
    """The platform polls it like /ping."""
    server = target.server()
    listed = server.listed()
    if listed:
        raise Doubtful(f"{len(listed)} models are loaded that the suite has not loaded")
    answer = server.send("GET", "/models", PING_WITHIN)
    expect("json" in answer.content_type, f"Content-Type {answer.content_type!r}")
    return str(answer)


@check("start.ping", clauses.PING, f"{_PINGS} pings in a row are 200, each within 2 s")
def ping(target: Target) -> str:
    """Health is asked every few seconds."""
    server = target.server()
    answers = [server.ping() for _ in range(_PINGS)]
    bad = [answer for answer in answers if answer.status != 200]
    expect(not bad, f"{len(bad)} of {_PINGS} pings: {bad[0] if bad else ''}")
    times = [answer.seconds for answer in answers]
    return f"median {statistics.median(times) * 1e3:.0f} ms, at most {max(times) * 1e3:.0f} ms"


@check("start.accept", clauses.ACCEPT, f"{_PINGS} new connections, each accepted within 250 ms")
def accept(target: Target) -> str:
    """Counted from connect() to its return."""
    address = urlsplit(target.server().url)
    times = []
    for _ in range(_PINGS):
        started = time.monotonic()
        try:
            place = (address.hostname, address.port or 80)
            socket.create_connection(place, timeout=PING_WITHIN).close()
        except OSError as error:
            raise Seen(f"connect: {error}") from error
        times.append(time.monotonic() - started)
    expect(max(times) <= CONNECT_WITHIN, f"at most {max(times) * 1e3:.0f} ms")
    return f"at most {max(times) * 1e3:.1f} ms"


@check(
    "start.bind-to-port",
    clauses.BIND_TO_PORT,
    f"with SAGEMAKER_BIND_TO_PORT={_OTHER_PORT} it serves there",
)
def bind_to_port(target: Target) -> str:
    """A promise of the label accept-bind-to-port."""
    environment = {"SAGEMAKER_BIND_TO_PORT": str(_OTHER_PORT)}
    return _serves(target, port=_OTHER_PORT, environment=environment)


@check("start.root", clauses.ROOT, "it serves as root")
def root(target: Target) -> str:
    """As SageMaker runs it."""
    return _serves(target, user="0")


@check("start.offline", clauses.ISOLATION, "it serves without a way to the network")
def offline(target: Target) -> str:
    """With EnableNetworkIsolation nothing can be fetched at the start or at a load."""
    return _serves(target, offline=True)


@check("start.not-root", clauses.NOT_ROOT, "it serves as user 1000", advisory=True)
def not_root(target: Target) -> str:
    """Nice to have."""
    return _serves(target, user="1000")


@check(
    "start.read-only",
    clauses.READ_ONLY,
    "it serves with a read-only file system and a tmpfs at /tmp",
    advisory=True,
)
def read_only(target: Target) -> str:
    """Nice to have."""
    return _serves(target, read_only=True, tmpfs={"/tmp": "exec"})  # noqa: S108


def _serves(target: Target, **options: Any) -> str:
    """Start a container, load a model and invoke it."""
    with target.start(**options) as container:
        _load_and_invoke(container.server)
        return f"healthy after {container.start_seconds:.1f} s, loads and answers"


def _load_and_invoke(server: Server) -> None:
    server.expect_answers(server.add(), "after the load")
