"""A server under test: started in a session of its own, spoken to over HTTP, stopped for good."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.models import Model

HOST = "127.0.0.1"
START_SECONDS = 120
STOP_SECONDS = 60
REQUEST_SECONDS = 120


class BenchmarkError(RuntimeError):
    """A server did not do what the measurement needs; the numbers would mean nothing."""


def free_port() -> int:
    """Return a port nobody listens on, below 32767: MMS refuses higher ones."""
    for port in random.sample(range(20000, 32000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise BenchmarkError("no free port among 100 tried")


@dataclass(frozen=True)
class Server:
    """One running server."""

    name: str
    port: int
    process: subprocess.Popen[bytes]

    def request(self, method: str, path: str, body: bytes = b"", mime: str = "") -> bytes:
        """Send one request on a connection of its own and return the body of its 200 answer."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=REQUEST_SECONDS)
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Content-Type": mime} if mime else {})
            response = connection.getresponse()
            answer = response.read()
        if response.status != 200:
            raise BenchmarkError(f"{self.name}: {method} {path} -> {response.status} {answer!r}")
        return answer

    def load(self, model: Model) -> float:
        """Load a model as SageMaker does and return the seconds it took."""
        body = json.dumps({"model_name": model.name, "url": str(model.folder)}).encode()
        start = time.perf_counter()
        self.request("POST", "/models", body, "application/json")
        return time.perf_counter() - start

    def unload(self, model: Model) -> None:
        """Unload a model."""
        self.request("DELETE", f"/models/{model.name}")

    def check(self, model: Model) -> None:
        """Ask a model for a prediction and insist that it is this model's own."""
        answer = self.request("POST", f"/models/{model.name}/invoke", model.row, "text/csv")
        if not model.is_right(answer):
            raise BenchmarkError(f"{self.name}: {answer!r} instead of {model.expected}")

    def processes(self) -> list[psutil.Process]:
        """Return every process of the server, also those whose parent has ended."""
        root = self.process.pid
        found = {root}
        with contextlib.suppress(psutil.NoSuchProcess):
            found |= {child.pid for child in psutil.Process(root).children(recursive=True)}
        for pid in psutil.pids():
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(pid) == root:
                    found.add(pid)
        alive = []
        for pid in sorted(found):
            with contextlib.suppress(psutil.NoSuchProcess):
                alive.append(psutil.Process(pid))
        return alive

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException, BenchmarkError):
                self.request("GET", "/ping")
                return
            time.sleep(0.1)
        raise BenchmarkError(f"{self.name} did not start")

    def _stop(self) -> None:
        family = self.processes()
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        # psutil checks the start time as well, so a recycled pid is not hit.
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        psutil.wait_procs(family, timeout=10)


@contextmanager
def running(
    name: str, command: list[str], env: Mapping[str, str], port: int, folder: Path
) -> Iterator[Server]:
    """Start a server, wait until it answers ``/ping``, and stop all its processes at the end."""
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=env,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(name, port, process)
    try:
        server._wait()
        yield server
    except Exception as error:
        error.add_note(f"the log of {name} ends:\n{log.read_text(errors='replace')[-1500:]}")
        raise
    finally:
        server._stop()
