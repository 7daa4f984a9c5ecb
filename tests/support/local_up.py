"""The real local SageMaker: its services of AWS alone, or all of it by `mme local up`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import psutil

from mme_local.aws.address import Address, find
from mme_local.aws.clients import Clients
from mme_local.aws.server import AwsServer
from support.serving import until

REGION = "us-east-1"
MME = Path(sys.executable).with_name("mme")
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR")


@contextmanager
def services(run: Path, port: int = 0) -> Iterator[tuple[AwsServer, Clients]]:
    """S3, IAM and the others, without SageMaker; the loop that they belong to is a thread's."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def call(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(90)

    server = AwsServer(run, port)
    try:
        call(server.start())
        yield server, Clients(server.endpoint, REGION)
    finally:
        call(server.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def environment(run: Path, **more: str) -> dict[str, str]:
    """A user's environment, without an AWS of its own, and with no way out of this machine."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    nowhere = "http://127.0.0.1:9"
    return {
        **kept,
        "MME_LOCAL_RUN": str(run),
        "MME_LOCAL_RUNTIME": "embedded",
        "HTTP_PROXY": nowhere,
        "HTTPS_PROXY": nowhere,
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "NO_COLOR": "1",
        "COLUMNS": "200",
        **more,
    }


class Local:
    """A local SageMaker that runs, as its users see it."""

    def __init__(self, run: Path, process: subprocess.Popen[str]) -> None:
        self.run = run
        self.process = process
        self.address: Address = until(lambda: self._address(), 60, "an address")

    def _address(self) -> Address | None:
        if self.process.poll() is not None:
            raise AssertionError(f"it has ended: {self.said}")
        try:
            return find(self.run)
        except Exception:
            return None

    @property
    def said(self) -> str:
        """What it has written."""
        return (self.run.parent / "up.txt").read_text()

    @property
    def processes(self) -> list[psutil.Process]:
        """Its process and all that it has started."""
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]

    def mme(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run `mme local ...`."""
        return mme(self.run, *arguments, **more)

    def exec(
        self, *command: str, within: float = 300, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a client by `mme local exec`."""
        return mme(self.run, "exec", "--", *command, within=within, **more)

    def client(self, service: str) -> Any:
        """A boto3 client."""
        ours = service.startswith("sagemaker")
        return boto3.client(
            service,
            endpoint_url=self.address.sagemaker if ours else self.address.aws,
            region_name=REGION,
            aws_access_key_id="LOCALSAGEMAKER000000",
            aws_secret_access_key="local",
        )

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it by a signal; its status."""
        self.process.send_signal(number)
        return self.process.wait(60)


def mme(
    run: Path, *arguments: str, within: float = 90, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run `mme local ...` in a user's environment."""
    return subprocess.run(
        [str(MME), "local", *arguments],
        env=environment(run, **more),
        text=True,
        capture_output=True,
        timeout=within,
        check=False,
    )


@contextmanager
def up(directory: Path, *options: str, port: int = 0, **more: str) -> Iterator[Local]:
    """`mme local up` in the foreground, with what it keeps below `directory`."""
    run = directory / "run"
    with (directory / "up.txt").open("w") as said:
        process = subprocess.Popen(
            [str(MME), "local", "up", "--port", str(port), *options],
            env=environment(run, **more),
            text=True,
            stdout=said,
            stderr=said,
        )
    try:
        yield Local(run, process)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(60)


def state(local: Local) -> dict[str, Any]:
    """What `mme local status --json` prints."""
    return json.loads(local.mme("status", "--json").stdout)


def child_of_ours() -> psutil.Process:
    """The process of `services`; tests of other things may have left more of them."""
    return next(
        child
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE and "mme_local.aws.child" in child.cmdline()
    )


def listening(processes: Sequence[psutil.Process]) -> set[str]:
    """The addresses that processes listen on."""
    return {
        connection.laddr.ip
        for process in processes
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
