"""The AWS services around SageMaker, as a child process: its start, its end, its log."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from mme_local.errors import LocalError
from mme_local.settings import ADDRESS

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 5.0

_LARGEST_IN_MEMORY: Final = 1 << 20


class AwsServer:
    """moto's server in a process of its own; `endpoint` is its URL once it is started.

    Args:
        run: directory for its log, ``aws.log``, and for its objects.
        port: to listen on; 0 is any free one.
    """

    def __init__(self, run: Path, port: int = 0) -> None:
        self._run = run
        self._port = port
        self._process: asyncio.subprocess.Process | None = None
        self.endpoint = ""

    @property
    def log(self) -> Path:
        """The file that it writes to."""
        return self._run / "aws.log"

    async def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            LocalError: it does not start, as when its port is taken.
        """
        self._process = process = await self._spawn()
        try:
            line = await asyncio.wait_for(_first_line(process), START_SECONDS)
        except TimeoutError:
            line = b""
        if not line.strip().isdigit():
            await self.stop()
            raise LocalError(f"the services of AWS did not start: {self._last_line()}")
        self.endpoint = f"http://{ADDRESS}:{int(line)}"

    async def ended(self) -> str:
        """Wait for its end, which nobody wants before `stop`; return what it said last."""
        if self._process:
            await self._process.wait()
        return self._last_line()

    async def stop(self) -> None:
        """End it, if it runs."""
        if self._process is None or self._process.returncode is not None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                self._process.send_signal(number)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
                return

    async def _spawn(self) -> asyncio.subprocess.Process:
        objects = self._run / "objects"
        objects.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "mme_local.aws.child", str(self._port), str(os.getpid())),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=_environment(objects),
                start_new_session=True,  # a terminal's Ctrl-C is for the parent, which stops it
            )

    def _last_line(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return f"{lines[-1] if lines else 'it said nothing'} ({self.log})"


async def _first_line(process: asyncio.subprocess.Process) -> bytes:
    return await process.stdout.readline() if process.stdout else b""


def _environment(objects: Path) -> dict[str, str]:
    """What moto is to know: nothing of the user's own AWS, and where objects go."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {
        **kept,
        "TMPDIR": str(objects),
        "MOTO_S3_DEFAULT_KEY_BUFFER_SIZE": str(_LARGEST_IN_MEMORY),
        "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
        "MOTO_DISABLE_GLOBAL_CORS": "true",  # no page of another site reads what is here
        # A part of an upload goes back to the system when it is stored.
        "MALLOC_ARENA_MAX": "2",
        "MALLOC_MMAP_THRESHOLD_": str(256 << 10),
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
