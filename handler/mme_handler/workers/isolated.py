"""An isolated worker: a process that serves one model, with the code that the model brings.

Nothing of that code is visible to another model: it has its own modules, ``sys.path``, working
directory, environment and memory limit. A hang ends this process at the timeout, with the place
where it hung in the log; a crash ends it at once; MMS comes back and the server forks another.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import resource
import select
import signal
import socket
import sys
import time
from http import HTTPStatus
from pathlib import Path
from typing import Any

from sagemaker_inference.errors import BaseInferenceToolkitError

from mme_handler import user_output
from mme_handler.logs import get_logger
from mme_handler.mms import protocol
from mme_handler.models.archive import CODE_DIRECTORY
from mme_handler.options import Options
from mme_handler.workers.channel import Channel, Message
from mme_handler.workers.descendants import kill_descendants
from mme_handler.workers.serving import ServedModel, report_cuda_failure
from mme_handler.workers.shared import failure, read_message, success, unexpected

log = get_logger(__name__)

_NICE = 5  # a third of a host's share of a CPU that both want


def main(server: Channel, options: dict[str, Any]) -> None:
    """Load the model that the server names and serve it until its connection ends."""
    # A group of its own, so that whatever the model's code starts can be ended with it.
    os.setpgid(0, 0)
    # Where CPUs are short, code that spins or starts again and again gives way to the hosts.
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    # Should the kernel have to end a process for want of memory, one with code goes first.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")
    with contextlib.suppress(EOFError, OSError):
        while True:
            for message, descriptors in server.receive():
                if message["do"] == "load":
                    sock = socket.socket(fileno=descriptors[0])
                    Worker(server, Options.of(options), message, sock).run()
                    return


class Worker:
    """The one model of this process."""

    def __init__(
        self, server: Channel, options: Options, message: Message, sock: socket.socket
    ) -> None:
        self._server = server
        self._options = options
        self._message = message
        self._socket = sock
        self._answered = 0

    def run(self) -> None:
        """Load, serve, and end with the connection."""
        with user_output.to_log(self._message["model"]):
            model = self._load()
            if model is not None:
                self._serve(model)
        sys.stdout.flush()
        sys.stderr.flush()
        # What the model's code has started must not outlive it.
        kill_descendants(os.getpid())
        with contextlib.suppress(OSError):
            os.killpg(0, signal.SIGKILL)

    def _load(self) -> ServedModel | None:
        key, name, path = (self._message[field] for field in ("key", "model", "path"))
        started = time.perf_counter()
        before = _private_memory()
        try:
            _enter(Path(path), self._options.memory_limit, self._options.script)
            with self._time_limit(self._options.model_timeout):
                model = ServedModel.load(name, path, self._options)
        except BaseException as error:
            known = error if isinstance(error, BaseInferenceToolkitError) else unexpected(error)
            report_cuda_failure(known, self._options, model=name)
            user_output.finish()  # the server ends this process when it hears of the failure
            self._server.send(failure(key, known))
            return None
        self._socket.setblocking(True)
        taken = max(_private_memory() - before, 0)
        self._server.send(success(key, model, time.perf_counter() - started, taken))
        return model

    def _serve(self, model: ServedModel) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._server.fileno(), select.POLLIN)
        while True:
            for fileno, _ in poll.poll():
                if fileno == self._server.fileno():
                    for message, _ in self._server.receive():
                        self._report(model, message["tag"])
                else:
                    status = self._answer(model)
                    if status is None:
                        self._send_last(model, "closed")
                        return
                    if status == HTTPStatus.INSUFFICIENT_STORAGE or model.lost:
                        # It leaks, or was asked for too much: a fresh process goes on with the
                        # connection, and with whatever MMS has sent on it meanwhile.
                        why = "lost its GPU" if model.lost else "ran out of memory"
                        self._send_last(model, "again", self._socket.fileno(), why=why)
                        return

    def _answer(self, model: ServedModel) -> int | None:
        """Answer one message; its gravest status, or None when the connection has ended."""
        requests = read_message(self._socket, bytearray())
        if requests is None or isinstance(requests, protocol.LoadRequest):
            return None
        with self._time_limit(model.timeout):
            reply, status = model.reply(requests)
        self._socket.sendall(reply)
        self._answered += 1
        return status

    def _send_last(
        self, model: ServedModel, event: str, *descriptors: int, why: str | None = None
    ) -> None:
        counts = model.invocations.take()
        message = {"event": event, "key": self._message["key"], "model": model.name, "why": why}
        self._server.send({**message, "invocations": counts}, *descriptors)

    @contextlib.contextmanager
    def _time_limit(self, seconds: float) -> Any:
        """End the process when the block takes too long.

        A thread in C does it, so it works when the model's code never returns to Python; it writes
        where each Python thread stood.
        """
        faulthandler.dump_traceback_later(seconds, exit=True)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _report(self, model: ServedModel, tag: int) -> None:
        if counts := model.invocations.take():
            self._server.send({"event": "counts", "model": model.name, "invocations": counts})
        self._server.send({"event": "report", "tag": tag, "busy": 0, "answered": self._answered})


def _enter(directory: Path, memory_limit: int, script: str | None) -> None:
    """Make the archive this process's place: working directory, module path, memory limit."""
    os.chdir(directory)
    code = directory / CODE_DIRECTORY
    places = [code, code / "lib", directory]
    if script:
        places.append(Path(script).parent)
    sys.path[:0] = [str(path) for path in places if path.is_dir()]
    sys.dont_write_bytecode = True  # the archive's directory is not ours to write to
    # Counts what the process may allocate from here on, not what it shares with the zygote.
    limit = _data_memory() + memory_limit
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) << 10
    return 0


def _data_memory() -> int:
    return _status("VmData:")


def _private_memory() -> int:
    """Bytes that this process does not share: pages it has written since it was forked."""
    total = 0
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith(("Private_Dirty:", "Private_Clean:")):
            total += int(line.split()[1]) << 10
    return total
