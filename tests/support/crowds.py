"""Clients that ask all the time while parts of a server end, and the processes that are left."""

from __future__ import annotations

import random
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field

import httpx
import psutil

from support.models import csv_of, make_rows
from support.serving import Server, until

ROW = csv_of(make_rows(1, seed=5))
CLIENTS = 4

CODE = "def predict_fn(data, model):\n    return [42.0] * len(data)\n"
SLOW_CODE = """
import pathlib
import time

def predict_fn(data, model):
    pathlib.Path({mark!r}).touch()
    time.sleep(1)
    return [1.0] * len(data)
"""


@dataclass
class Traffic:
    """Clients that invoke the models in random order, one request at a time each."""

    server: Server
    names: list[str]
    statuses: list[int] = field(default_factory=list)
    slowest: float = 0.0
    ends_at_error: bool = False

    def __enter__(self) -> Traffic:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(CLIENTS)]
        for thread in self._threads:
            thread.start()
        until(lambda: len(self.statuses) > 5 * CLIENTS, what="answers")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self, number: int) -> None:
        choose = random.Random(number).choice
        base_url = self.server.client.base_url
        with httpx.Client(base_url=base_url, timeout=30) as client:
            while not self._stop.is_set():
                started = time.monotonic()
                status = ask(client, choose(self.names))
                self.slowest = max(self.slowest, time.monotonic() - started)
                self.statuses.append(status)
                if status != 200 and self.ends_at_error:
                    return

    @property
    def errors(self) -> list[int]:
        """What was answered besides 200; 0 is a connection that ended."""
        return [status for status in self.statuses if status != 200]


def ask(client: httpx.Client, name: str) -> int:
    headers = {"content-type": "text/csv"}
    try:
        return client.post(f"/models/{name}/invoke", content=ROW, headers=headers).status_code
    except httpx.TransportError:
        return 0


def processes(server: Server) -> list[psutil.Process]:
    """The tree as it is now."""
    found = []
    for pid in (pid for pids in server.pids().values() for pid in pids):
        with suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(pid))
    return found


def alive(family: list[psutil.Process]) -> list[str]:
    """Those that still run; an orphan that has ended and that nobody collects does not."""
    running = []
    for process in family:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                running.append(" ".join(process.cmdline())[:100])
    return running
