"""Containers without Docker: this installation's own ``mme`` as a process with its own tree.

The environment is a container's, the files are below a directory of the container's own, and the
limits are told to the program: the kernel enforces the number of CPUs alone, and nothing hides the
rest of the machine from it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import hashlib
import itertools
import os
import random
import shutil
import signal
import sys
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import psutil

from mme_local.containers import images
from mme_local.containers.hosts import Hosts, Place, names
from mme_local.containers.lines import Lines
from mme_local.containers.processes import Tree
from mme_local.containers.spec import ContainerSpec, Usage
from mme_local.errors import LocalError
from mme_local.settings import ADDRESS
from mme_training.server import is_free

ML: Final = "/opt/ml"
_PORTS: Final = range(15_000, 32_000)
"""MMS takes none above 32,766, and from 32,768 on Linux hands them out to clients."""
_LONGEST_TMPDIR: Final = 60
"""Characters: the server's Unix sockets have paths of 107 at most, and add 42 to it."""
_DRAIN_WITHIN: Final = 2.0
"""Seconds for the last output, once the process has ended."""
_LAST_HOST: Final = 254
_PR_SET_PDEATHSIG: Final = 1

_libc = ctypes.CDLL(None)


class EmbeddedRuntime:
    """Runs our image's commands by this installation; other images need Docker.

    Args:
        run: directory for what the processes need while they run.
        image: the name that stands for our image, `LocalSettings.image`.
    """

    name = "embedded"

    def __init__(self, run: Path, image: str) -> None:
        self._image = image
        self._program = _program()
        self._scratch = _scratch(run)
        self._numbers = itertools.count(1)
        self._networks = itertools.count(1)
        self._first_cpu = itertools.count()
        self._ports: set[int] = set()
        self._containers: set[EmbeddedContainer] = set()

    async def labels(self, image: str) -> Mapping[str, str] | None:
        """Our image's labels.

        Raises:
            LocalError: `image` is another one.
        """
        self._check(image)
        return images.LABELS

    async def hosts(self, job: str, count: int) -> Hosts:
        """SageMaker's name for one host; for several, addresses ``127.x.y.1`` and on."""
        if count == 1:
            return Hosts(names(1), "lo")
        if count > _LAST_HOST:
            raise LocalError(f"without Docker a job has at most {_LAST_HOST} hosts, not {count}")
        number = next(self._networks)
        network = f"127.{64 + number // 256 % 128}.{number % 256}"
        return Hosts(tuple(f"{network}.{host}" for host in range(1, count + 1)), "lo")

    async def start(self, spec: ContainerSpec, place: Place | None = None) -> EmbeddedContainer:
        """Start the process; its end is this process's end at the latest.

        Raises:
            LocalError: the image is not ours, or the process cannot be started.
        """
        self._check(spec.image)
        directory = self._scratch / str(next(self._numbers))
        port = self._free_port() if spec.command == "serve" else 0
        try:
            for each in (directory / "tmp", directory / "home"):
                each.mkdir(parents=True)
            process, output = await self._spawn(spec, directory, port)
        except OSError as error:
            self._ports.discard(port)
            shutil.rmtree(directory, ignore_errors=True)
            raise LocalError(f"{spec.name} cannot be started: {error}") from error
        container = EmbeddedContainer(spec, process, output, directory, port, self._forget)
        self._containers.add(container)
        return container

    async def close(self) -> None:
        """End every process that is left."""
        await asyncio.gather(*(container.remove() for container in list(self._containers)))
        shutil.rmtree(self._scratch, ignore_errors=True)

    async def _spawn(self, spec: ContainerSpec, directory: Path, port: int) -> tuple[Process, int]:
        """The process, and the end of a pipe that its output comes from."""
        # Not asyncio's own pipe: for that, a process has not ended as long as another holds it.
        output, given = os.pipe()
        try:
            # On the loop's own thread: the process ends with the thread that has started it.
            process = await asyncio.create_subprocess_exec(
                *self._command(spec),
                stdin=DEVNULL,
                stdout=given,
                stderr=STDOUT,
                cwd=directory / "home",
                env=self._environment(spec, directory, port),
                start_new_session=True,
                preexec_fn=_prepare(self._cpus(spec.cpus)),
            )
        except BaseException:
            os.close(output)
            raise
        finally:
            os.close(given)
        return process, output

    def _check(self, image: str) -> None:
        if not images.is_ours(image, self._image):
            raise LocalError(
                f"the image {image} needs Docker: without it only AWS's XGBoost image and "
                f"{self._image} are run, both by this installation; start a Docker engine, and set "
                "MME_LOCAL_RUNTIME=docker"
            )

    def _command(self, spec: ContainerSpec) -> list[str]:
        if spec.command == "serve":
            return [self._program, "serve"]
        return [self._program, "train", "--root", str(spec.ml)]

    def _environment(self, spec: ContainerSpec, directory: Path, port: int) -> dict[str, str]:
        own = {
            "PATH": f"{Path(self._program).parent}:{os.environ.get('PATH', os.defpath)}",
            "HOME": str(directory / "home"),
            "LANG": "C.UTF-8",
            "TMPDIR": str(directory / "tmp"),
            "PYTHONUNBUFFERED": "1",
        }
        given = {name: _below(value, spec.ml) for name, value in spec.environment.items()}
        if spec.command == "train":
            return {**own, **given}
        limits = {
            "MME_MEMORY_BUDGET": str(min(spec.memory, psutil.virtual_memory().total)),
            "MME_HOSTS": str(min(spec.cpus, len(os.sched_getaffinity(0)))),
        }
        fixed = {
            "MME_ADDRESS": ADDRESS,
            "MME_METRICS_PORT": "0",
            "MME_MODELS": str(spec.ml / "models"),
            "MME_MODEL": str(spec.ml / "model"),
            "SAGEMAKER_BIND_TO_PORT": str(port),
        }
        return {**own, **limits, **given, **fixed}

    def _cpus(self, count: int) -> set[int]:
        """As many of this process's CPUs; other ones for the next container, where there are."""
        available = sorted(os.sched_getaffinity(0))
        first = next(self._first_cpu) * count
        wanted = range(first, first + min(count, len(available)))
        return {available[index % len(available)] for index in wanted}

    def _free_port(self) -> int:
        for port in random.sample(_PORTS, 100):
            if port not in self._ports and is_free(port):
                self._ports.add(port)
                return port
        raise LocalError(f"no free port was found among {_PORTS.start} to {_PORTS.stop - 1}")

    def _forget(self, container: EmbeddedContainer, port: int) -> None:
        self._ports.discard(port)
        self._containers.discard(container)


class EmbeddedContainer:
    """One process of ``mme serve`` or ``mme train``, and those that it has started."""

    def __init__(
        self,
        spec: ContainerSpec,
        process: Process,
        output: int,
        directory: Path,
        port: int,
        removed: Callable[[EmbeddedContainer, int], None],
    ) -> None:
        self.url = f"http://{ADDRESS}:{port}" if port else ""
        self.ml = str(spec.ml)
        self._process = process
        self._directory = directory
        self._port = port
        self._removed = removed
        self._tree = Tree(process.pid)
        self._reading = asyncio.create_task(_read(output, Lines(spec.write_line)))
        self._ended = asyncio.create_task(self._end())

    @property
    def pid(self) -> int:
        """Of the first process."""
        return self._process.pid

    async def wait(self) -> int:
        """The exit status, once all output is read."""
        return await asyncio.shield(self._ended)

    async def stop(self, within: float) -> int:
        """Send SIGTERM to the first process, as Docker does; SIGKILL to all after `within` s."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            try:
                return await asyncio.wait_for(self.wait(), within)
            except TimeoutError:
                await asyncio.to_thread(self._tree.kill)
        return await self.wait()

    async def usage(self) -> Usage | None:
        """What its processes take: `Tree.usage`; None when the first has ended."""
        if self._process.returncode is not None:
            return None
        return await asyncio.to_thread(self._tree.usage)

    async def remove(self) -> None:
        """Kill what runs, and remove the process's temporary files."""
        if self._process.returncode is None:
            await asyncio.to_thread(self._tree.kill)
        await self.wait()
        self._reading.cancel()
        await asyncio.wait([self._reading])
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)
        self._removed(self, self._port)

    async def _end(self) -> int:
        status = await self._process.wait()
        # As in Docker nothing outlives the first process; it might hold the output open, too.
        await asyncio.to_thread(self._tree.kill)
        await asyncio.wait([self._reading], timeout=_DRAIN_WITHIN)
        return status if status >= 0 else 128 - status


async def _read(output: int, lines: Lines) -> None:
    """Hand on what comes through the pipe, to its end."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(output, "rb", 0)
    )
    try:
        while piece := await reader.read(1 << 16):
            lines.feed(piece)
        lines.close()
    finally:
        transport.close()


def _prepare(cpus: set[int]) -> Callable[[], None]:
    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        os.sched_setaffinity(0, cpus)

    return prepare


def _below(value: str, ml: Path) -> str:
    """A path below ``/opt/ml``, where it is here; any other value as it is."""
    if value == ML or value.startswith(f"{ML}/"):
        return f"{ml}{value.removeprefix(ML)}"
    return value


def _program() -> str:
    beside = Path(sys.executable).with_name("mme")
    program = str(beside) if beside.exists() else shutil.which("mme")
    if program is None:
        raise LocalError("the program mme is not on the path: install xgboost-mme")
    return program


def _scratch(run: Path) -> Path:
    """An empty directory with a path short enough for sockets below it."""
    scratch = run.absolute() / "tmp"
    if len(os.fsencode(scratch)) > _LONGEST_TMPDIR - len("/1000000/tmp"):
        # The same for each run in that directory, which so finds what a killed one has left.
        digest = hashlib.sha256(os.fsencode(scratch)).hexdigest()[:12]
        scratch = Path("/tmp", f"mme-{os.getuid()}-{digest}")  # noqa: S108 - owner only
    shutil.rmtree(scratch, ignore_errors=True)  # Of a run that was killed.
    scratch.mkdir(parents=True, mode=0o700)
    return scratch
