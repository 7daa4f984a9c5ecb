"""The measuring tools: medians, memory of a process tree, latency."""

from __future__ import annotations

import contextlib
import socket
import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.models import Model
from benchmarks.server import HOST, REQUEST_SECONDS, BenchmarkError, Server

MIB = 1024 * 1024


@dataclass(frozen=True)
class Sample:
    """A median, and how many measurements it is the median of."""

    median: float
    n: int

    @classmethod
    def of(cls, values: Iterable[float], scale: float = 1.0) -> Sample:
        """Return the median of some measurements, in another unit if `scale` says so."""
        kept = [value * scale for value in values]
        return cls(statistics.median(kept), len(kept))


def pss_mib(server: Server) -> float:
    """Return the memory of all processes of a server, every shared page counted once in total."""
    total = 0
    for process in server.processes():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total / MIB


def timed_check(server: Server, model: Model) -> float:
    """Return the seconds one checked prediction takes on a connection of its own."""
    start = time.perf_counter()
    server.check(model)
    return time.perf_counter() - start


def invocation(model: Model) -> bytes:
    """Return the bytes of one request for a prediction."""
    head = (
        f"POST /models/{model.name}/invoke HTTP/1.1\r\nHost: {HOST}\r\n"
        f"Content-Type: text/csv\r\nContent-Length: {len(model.row)}\r\n\r\n"
    )
    return head.encode() + model.row


def content_length(head: bytes) -> int:
    """Return the length of the body that follows the head of a 200 answer."""
    if not head.startswith(b"HTTP/1.1 200"):
        raise BenchmarkError(f"answered {head[:200]!r}")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    raise BenchmarkError(f"answered without a length: {head[:200]!r}")


def _read_answer(connection: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        received += _receive(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    length = content_length(head)
    while len(body) < length:
        body += _receive(connection)
    return body


def _receive(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise BenchmarkError("the server closed a connection it should have kept")
    return data


def latencies(server: Server, model: Model, count: int) -> list[float]:
    """Return the seconds each of `count` requests took, one after the other on one connection."""
    request = invocation(model)
    taken = []
    with socket.create_connection((HOST, server.port), timeout=REQUEST_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            start = time.perf_counter()
            connection.sendall(request)
            answer = _read_answer(connection)
            taken.append(time.perf_counter() - start)
            if not model.is_right(answer):
                raise BenchmarkError(f"{server.name}: {answer!r} instead of {model.expected}")
    return taken
