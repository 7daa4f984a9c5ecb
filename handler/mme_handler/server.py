"""Starts MMS and the processes behind it, watches them, and stops them in order.

The exit status is the container's health, since MMS's own ``/ping`` never says "unhealthy": 0 after
SIGTERM or SIGINT, 1 when MMS or the worker processes have ended and cannot be had back.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Coroutine, Iterable, Iterator
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final

from prometheus_client import start_http_server

from mme_handler import logs
from mme_handler.errors import MmeError
from mme_handler.metrics import LoadedModel, ServerMetrics
from mme_handler.mms import frontend
from mme_handler.mms.hold import Hold
from mme_handler.mms.no_listing import limit_descriptors, no_listing
from mme_handler.mms.rendezvous import Launch, Rendezvous
from mme_handler.models import gpu
from mme_handler.models.memory import (
    Budget,
    Cgroup,
    machine_memory,
    megabytes,
    own_size,
    shared_size,
)
from mme_handler.rundir import RunDirectory
from mme_handler.settings import Settings
from mme_handler.workers.gpus import Placement
from mme_handler.workers.homes import Zygote
from mme_handler.workers.pool import Pool

log = logs.get_logger(__name__)

_START_WITHIN: Final = 60.0  # seconds
_QUIET: Final = 0.25  # seconds without work after which nothing is on its way any more
_DRAIN_LIMIT: Final = 6.0  # seconds; SageMaker sends SIGKILL 30 s after SIGTERM
_MEASURE_INTERVAL: Final = 2.0  # seconds
_PLAIN_PATH: Final = re.compile(r"[!-+\--\[\]-~]+( +[!-+\--\[\]-~]+)*")
# What grows while models come and go at the limit: Java's compiled code and stacks, and heaps with
# holes. In a thousand rounds at 1 GiB it was 30 to 60 MB.
_GROWTH: Final = 56 << 20
_LAUNCHER_SIZE: Final = 120_000  # bytes that one launcher takes
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36


class StartError(RuntimeError):
    """The server cannot start; the message says why and what to do."""


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    json_logs = logs.wants_json(settings.log_format)
    logs.configure(json_lines=json_logs)
    if settings.single_model and not _PLAIN_PATH.fullmatch(str(settings.single_model.resolve())):
        raise StartError(
            f"MMS cannot start with a model at {str(settings.single_model)!r}: use a path without "
            "commas, backslashes and other than ASCII characters"
        )
    if settings.single_model and not settings.single_model.is_dir():
        raise StartError(
            f"there is no model directory {settings.single_model}: set SAGEMAKER_MULTI_MODEL=true "
            "for models that come and go, or MME_MODEL"
        )
    if settings.submit_directory and not settings.script:
        log.warning(
            f"SAGEMAKER_SUBMIT_DIRECTORY is passed over: there is no {settings.program} in it",
            directory=str(settings.submit_directory),
        )
    try:
        gpus = gpu.find(settings.device)
    except gpu.GpuError as error:
        raise StartError(str(error)) from None
    settings = _place(settings, gpus)
    _raise_descriptor_limit()
    with RunDirectory(settings.port) as run:
        return asyncio.run(Server(settings, run, json_logs=json_logs, gpus=gpus).run())


def _place(settings: Settings, gpus: gpu.Gpus | None) -> Settings:
    """The settings with what was found out: where to predict, and by how many hosts."""
    if gpus is None:
        return settings.model_copy(update={"device": "cpu"})
    return settings.model_copy(update={"device": "cuda", "hosts": len(gpus.devices)})


class Server:
    """One running server."""

    def __init__(
        self, settings: Settings, run: Path, *, json_logs: bool, gpus: gpu.Gpus | None
    ) -> None:
        self._settings = settings
        self._run = run
        self._json_logs = json_logs
        self._stop = asyncio.Event()
        self._failed = asyncio.Event()
        self._why: str | None = None
        self._cgroup = Cgroup()
        self._measured = 0
        # Java's heap grows only as it must; this is the most that it may.
        self._limit = settings.memory_budget or min(
            self._cgroup.limit or sys.maxsize, machine_memory()
        )
        self._heap = min(max(self._limit // 6, 64 << 20), 1 << 30)
        self._budget = Budget(self._limit, 0, self._measure)
        self._gpus = len(gpus.devices) if gpus else 0
        self._places = Placement(gpus, settings.max_payload, settings.workers_per_model)
        self._metrics = ServerMetrics(self._gauges, self._loaded_models, self._places.usage)
        self._zygote = Zygote(
            json_logs=json_logs,
            restarted=self._zygote_restarted,
            failed=self._failed.set,
        )
        self._pool = Pool(settings, self._budget, self._zygote, self._metrics, run, self._places)

    async def run(self) -> int:
        """Start, serve, stop; return the exit status."""
        self._loop = asyncio.get_running_loop()
        self._hold = Hold(self._settings.local_address, self._settings.port, frontend.HTTP_THREADS)
        await self._hold.start()
        frontend.prepare(self._run, self._settings, self._json_logs, self._hold.gate, self._gpus)
        self._mms = self._start_mms()
        self._rendezvous = Rendezvous(self._run, self._pool, self._hold)
        self._pool.on_disconnect = self._rendezvous.disconnected
        self._pool.sweep = self._rendezvous.sweep
        if self._settings.single_model:
            self._to_load = self._settings.workers_per_model
            self._rendezvous.on_load = self._on_single_load
        self._loop.add_signal_handler(signal.SIGCHLD, self._reap)
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                self._loop.add_signal_handler(number, self._stop.set)
            if not await self._unless_stopped(self._until_ready()):
                return 0
            with contextlib.suppress(ProcessLookupError):  # it has ended, and `_until_end` says so
                limit_descriptors(self._mms.pid, 0)
            await asyncio.to_thread(self._set_base)
            self._start_metrics()
            self._announce()
            return await self._until_end()
        except TimeoutError:
            raise StartError(f"not ready within {self._start_within:.0f} s") from None
        finally:
            self._close()

    async def _until_ready(self) -> None:
        async with asyncio.timeout(self._start_within):
            await asyncio.gather(self._start_homes(), self._until_mms_answers())

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Whether `work` came to its end before the server was told to stop."""
        task, stop = asyncio.create_task(work), asyncio.create_task(self._stop.wait())
        await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not task.done():
            task.cancel()
            return False
        task.result()
        return True

    @property
    def _start_within(self) -> float:
        load = self._settings.model_timeout if self._settings.single_model else 0
        return _START_WITHIN + load

    def _on_single_load(self, launch: Launch, error: MmeError | None) -> None:
        """The only model is loaded, and MMS may open its port; or it cannot be, and that is all."""
        if launch.name != frontend.SINGLE_MODEL:
            return
        if error is not None:
            self._why = f"the model cannot be loaded: {error.message}"
            self._failed.set()
            return
        self._to_load -= 1
        if self._to_load <= 0:
            self._hold.open_gate()

    async def _until_end(self) -> int:
        measuring = asyncio.create_task(self._keep_measuring())
        waits = [asyncio.create_task(event.wait()) for event in (self._stop, self._failed)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        measuring.cancel()
        if self._failed.is_set():
            why = self._why or "MMS or the worker processes have ended"
            log.error(f"stopping: {why}", mms=self._mms.poll())
            return 1
        log.info("stopping: requests under way are finished first")
        await self._pool.reports.drain(_QUIET, _DRAIN_LIMIT)
        return 0

    def _close(self) -> None:
        self._loop.remove_signal_handler(signal.SIGCHLD)
        # MMS's group is MMS and every launcher.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._mms.pid, signal.SIGKILL)
        self._mms.wait()
        self._hold.close()
        self._pool.close()
        self._rendezvous.close()
        self._zygote.close()

    def _start_mms(self) -> subprocess.Popen[bytes]:
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        confine = no_listing()

        def prepare() -> None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            # A request wakes six threads of MMS, one after the other. As a batch job, a woken
            # thread does not push aside the one that woke it and has a few steps to go: a
            # quarter more requests per second, and a quarter less time for one.
            with contextlib.suppress(OSError):
                os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
            confine()

        with (self._run / "mms.out").open("wb") as output:
            return subprocess.Popen(
                frontend.command(self._run, self._heap),
                stdin=subprocess.DEVNULL,
                stdout=output,
                cwd=self._run,
                # A group of its own: a Ctrl-C is for the server alone. In the same session: when
                # the server is killed, the kernel wakes and ends the launchers that wait.
                process_group=0,
                preexec_fn=prepare,
            )

    async def _start_homes(self) -> None:
        await self._zygote.start(self._mms.pid)
        await self._pool.start()
        self._rendezvous.start()  # with all hosts to choose from

    async def _until_mms_answers(self) -> None:
        address = (self._settings.local_address, self._settings.port)
        while not await asyncio.to_thread(_answers, *address):
            if self._failed.is_set():
                if self._why:
                    raise StartError(self._why)
                output = (self._run / "mms.out").read_text(errors="replace").strip()
                raise StartError(f"MMS ended while starting: {output or 'see its log above'}")
            await asyncio.sleep(0.02)

    def _start_metrics(self) -> None:
        port = self._settings.metrics_port
        self._metrics.refresh = self._refresh
        self._metrics.register()
        try:
            server, _ = start_http_server(port, self._settings.address, self._metrics.registry)
        except OSError as error:
            raise StartError(
                f"metrics port {port} cannot be used ({error.strerror}): set MME_METRICS_PORT"
            ) from None
        self._metrics_port = server.server_port

    def _announce(self) -> None:
        settings = self._settings
        single = settings.single_model
        what = f"the model at {single}" if single else f"models below {settings.models}"
        sys.stdout.write(
            f"mme ready on port {settings.port}: {what}, metrics on port "
            f"{self._metrics_port}, memory budget {megabytes(self._limit)}, "
            f"{self._pool.hosts} hosts\n"
        )
        sys.stdout.flush()

    def _reap(self) -> None:
        """Collect ended children: MMS, the zygote, and orphans that fall to this process."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            if ended.si_pid == self._mms.pid:
                self._mms.poll()
                self._failed.set()
            elif ended.si_pid == self._zygote.pid:
                self._zygote.reap()
            else:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(ended.si_pid, os.WNOHANG)

    def _zygote_restarted(self) -> None:
        self._metrics.restarts["zygote"] += 1

    def _refresh(self) -> None:
        """Fetch the homes' counts; called on the thread of the metrics' own server."""
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._pool.reports.fetch(), self._loop).result(2)

    def _gauges(self) -> dict[str, float]:
        return {
            "mme_memory_budget_bytes": self._limit,
            "mme_memory_used_bytes": self._budget.used,
            "mme_memory_measured_bytes": self._measured,
            "mme_models": len(self._rendezvous.launches),
            "mme_hosts": self._pool.hosts,
            "mme_isolated_workers": self._pool.isolated,
        }

    def _loaded_models(self) -> Iterable[LoadedModel]:
        for launch in list(self._rendezvous.launches.values()):
            yield LoadedModel(
                launch.name, self._budget.charge(launch), launch.info, self._places.charge(launch)
            )

    def _measure(self) -> int:
        """What the server really takes, where it is held to its limit."""
        return self._cgroup.used() if self._is_held else 0

    @property
    def _is_held(self) -> bool:
        """Whether the system ends a process of the server's for taking more than the limit."""
        return self._settings.memory_budget is None and self._cgroup.limit == self._limit

    async def _keep_measuring(self) -> None:
        while True:
            await asyncio.sleep(_MEASURE_INTERVAL)
            self._measured = await asyncio.to_thread(self._tree_size)
            with contextlib.suppress(ProcessLookupError):
                limit_descriptors(self._mms.pid, len(self._rendezvous.launches))

    def _tree_size(self) -> int:
        # MMS shares nothing, and to add up the pages of thousands of threads would stop it.
        alone = sum(own_size(pid) for pid in (os.getpid(), self._mms.pid))
        forked = sum(shared_size(pid) for pid in self._forked_pids())
        return alone + forked + len(self._rendezvous.launches) * _LAUNCHER_SIZE

    def _forked_pids(self) -> Iterator[int]:
        yield from self._pool.pids()
        if self._zygote.pid:
            yield self._zygote.pid

    def _set_base(self) -> None:
        self._measured = self._tree_size()
        # Java has touched little of its heap yet; requests will make it grow by about a third.
        growth = self._heap // 3 + (_GROWTH if self._is_held else 0)
        self._budget.set_base(self._measured + growth)


def _answers(host: str, port: int) -> bool:
    connection = HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == HTTPStatus.OK
    except (HTTPException, OSError):
        return False
    finally:
        connection.close()


def _raise_descriptor_limit() -> None:
    """Each model takes one or two descriptors in several processes."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
