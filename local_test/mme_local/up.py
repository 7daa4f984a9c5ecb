"""`mme local up` and `down`: the local SageMaker as a process, here or in the background.

As a module it is what runs in the background: ``python -m mme_local.up``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import uvicorn
from starlette.applications import Starlette

from mme_local.assembly import Parts, assembled, version
from mme_local.aws.address import Address, RunDirectory, find
from mme_local.aws.environment import default_bucket
from mme_local.errors import LocalError
from mme_local.settings import ADDRESS, ROLE_ARN, LocalSettings, PlatformParameters

LOG: Final = "up.log"
"""In the run directory: what a local SageMaker in the background has to say."""
START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 150.0
"""A training job may take 120 to end."""

_DRAIN_SECONDS: Final = 2
_THREADS: Final = 64
_POLL: Final = 0.05

_log = logging.getLogger(__name__)


def run(
    settings: LocalSettings, announce: Callable[[Address], None], detached: bool = False
) -> None:
    """Run until SIGTERM, SIGINT or SIGHUP; `announce` is called once clients are answered.

    Unless `detached`, what an earlier one in the background has said is removed.

    Raises:
        LocalError: it cannot start, or a part of it has ended.
    """
    with RunDirectory(settings.run) as directory:
        if not detached:
            (settings.run / LOG).unlink(missing_ok=True)

        def announced(address: Address) -> None:
            directory.announce(address)
            announce(address)

        asyncio.run(_run(settings, announced))


async def _run(settings: LocalSettings, announce: Callable[[Address], None]) -> None:
    asked = _signals()
    # Downloads take a thread each for as long as they take; the default is six on two CPUs.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS, "mme-local"))
    with _listening(settings.port) as sock:
        async with assembled(settings, asked) as parts:
            server = _Server(_config(parts.app))
            serving = asyncio.create_task(server.serve(sockets=[sock]))
            try:
                await parts.plane.start()
                announce(_address(settings, parts, sock))
                await _until_any(asked, parts, serving)
            finally:
                server.should_exit = True
                await serving


async def _until_any(asked: asyncio.Event, parts: Parts, serving: asyncio.Task[None]) -> None:
    """Wait for a signal.

    Raises:
        LocalError: a part has ended first.
    """
    signalled = asyncio.create_task(asked.wait())
    aws = asyncio.create_task(parts.aws.ended())
    waiting: list[asyncio.Task[object]] = [signalled, aws, serving]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    signalled.cancel()
    if asked.is_set():
        aws.cancel()
        return
    if aws.done():
        raise LocalError(f"the services of AWS have ended: {aws.result()}")
    aws.cancel()
    raise LocalError("the HTTP server has ended")


def start_detached(settings: LocalSettings) -> Address:
    """Start in the background and wait until clients are answered.

    Raises:
        LocalError: it did not start; the text is what it said.
        ValidationError: a parameter of the platform is wrong.
    """
    PlatformParameters()
    with RunDirectory(settings.run):  # nobody is there, and the directory is
        log = settings.run / LOG
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "mme_local.up"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **_as_environment(settings)},
            start_new_session=True,
        )
    end = time.monotonic() + START_SECONDS
    while process.poll() is None:
        with suppress(LocalError):
            return find(settings.run)
        if time.monotonic() > end:
            process.terminate()
            raise LocalError(f"it did not start within {START_SECONDS:.0f} s: see {log}")
        time.sleep(_POLL)
    said = log.read_text(errors="replace").strip().splitlines()
    raise LocalError(said[-1].removeprefix("mme: ") if said else f"it ended at once: see {log}")


def stop(directory: Path) -> Address:
    """End the local SageMaker that runs in a directory; return what it was.

    Raises:
        LocalError: none runs, or it does not end.
    """
    address = find(directory)
    with suppress(ProcessLookupError):
        os.kill(address.pid, signal.SIGTERM)
    end = time.monotonic() + STOP_SECONDS
    while time.monotonic() < end:
        try:
            find(directory)
        except LocalError:
            return address
        time.sleep(_POLL)
    raise LocalError(f"process {address.pid} has not ended within {STOP_SECONDS:.0f} s")


class _Server(uvicorn.Server):
    """uvicorn, but signals are ours: what it serves ends after it, not with it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )


def _signals() -> asyncio.Event:
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    return asked


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    # Named so, asyncio sees that it is TCP, and sends small answers at once: else 40 ms late.
    with socket.socket(proto=socket.IPPROTO_TCP) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((ADDRESS, port))
        except OSError as error:
            raise LocalError(
                f"port {port} cannot be used ({error.strerror}): give another by --port"
            ) from error
        yield sock


def _address(settings: LocalSettings, parts: Parts, sock: socket.socket) -> Address:
    return Address(
        pid=os.getpid(),
        sagemaker=f"http://{ADDRESS}:{sock.getsockname()[1]}",
        aws=parts.aws.endpoint,
        region=settings.region,
        role=ROLE_ARN,
        bucket=default_bucket(settings.region),
        runtime=parts.runtime.name,
        version=version(),
    )


def _as_environment(settings: LocalSettings) -> dict[str, str]:
    given = settings.model_dump(mode="json", exclude_none=True)
    return {f"MME_LOCAL_{name.upper()}": str(value) for name, value in given.items()}


def _main() -> int:
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        run(LocalSettings(), lambda address: _log.warning("ready at %s", address.sagemaker), True)
    except LocalError as error:
        sys.stderr.write(f"mme: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
