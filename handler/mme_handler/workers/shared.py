"""A host: one process that serves many plain models.

One thread waits for MMS's messages on all connections and answers small ones itself. Loads, large
messages, and small ones that may be much work go to other threads: libxgboost and the codecs
release the interpreter lock often, so a batch of 100,000 rows for one model does not hold up a
single row for another. MMS sends one message at a time on a connection, so a connection belongs to
one thread at a time.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from sagemaker_inference.errors import BaseInferenceToolkitError

from mme_handler.answers import error_status
from mme_handler.errors import ModelLoadError, as_text
from mme_handler.logs import get_logger
from mme_handler.mms import protocol
from mme_handler.models.release import heap_size, trim_memory
from mme_handler.options import Options
from mme_handler.workers.channel import Channel, Message
from mme_handler.workers.serving import SMALL, ServedModel, report_cuda_failure

log = get_logger(__name__)

_THREADS: Final = 8
# How long a thread that computes in Python keeps the interpreter from the one that answers single
# rows; CPython's default is 5 ms, ten times what such an answer takes.
_SWITCH_INTERVAL: Final = 0.0005
_TRIM_AFTER: Final = 0.5  # seconds: one trim for all the models unloaded in between


class _Connection:
    """A connection of MMS, for one model."""

    __slots__ = ("fileno", "key", "model", "socket")

    def __init__(self, key: int, sock: socket.socket, model: ServedModel) -> None:
        self.key = key
        self.socket = sock
        self.fileno = sock.fileno()
        self.model = model


def main(server: Channel, options: dict[str, Any]) -> None:
    """Serve until the server closes the channel."""
    sys.setswitchinterval(_SWITCH_INTERVAL)
    with contextlib.suppress(EOFError, BrokenPipeError):
        Host(server, Options.of(options)).run()


class Host:
    """The models of this process, by connection."""

    def __init__(self, server: Channel, options: Options) -> None:
        self._server = server
        self._options = options
        self._epoll = select.epoll()
        self._connections: dict[int, _Connection] = {}
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="mme")
        self._busy = 0
        self._answered = 0
        self._loading = 0
        self._load_count = 0  # loads and unloads begun: what else went on during a load
        self._lock = threading.Lock()
        self._trim_at: float | None = None

    def run(self) -> None:
        """Wait and answer, until the server closes the channel."""
        self._epoll.register(self._server.fileno(), select.EPOLLIN)
        while True:
            timeout = None if self._trim_at is None else max(self._trim_at - time.monotonic(), 0)
            for fileno, _ in self._epoll.poll(timeout):
                if fileno == self._server.fileno():
                    for message, descriptors in self._server.receive():
                        self._on_message(message, descriptors)
                elif connection := self._connections.get(fileno):
                    self._on_readable(connection)
            if self._trim_at is not None and time.monotonic() >= self._trim_at:
                self._trim_at = None
                self._threads.submit(trim_memory)

    def _on_message(self, message: Message, descriptors: list[int]) -> None:
        match message["do"]:
            case "load":
                self._threads.submit(self._load, message, socket.socket(fileno=descriptors[0]))
            case "report":
                self._report(message["tag"])
            case "trim":
                self._threads.submit(self._trim, message["tag"])

    def _load(self, message: Message, sock: socket.socket) -> None:
        key = message["key"]
        started = time.perf_counter()
        with self._lock:
            self._loading += 1
            self._load_count += 1
            alone, count = self._loading == 1, self._load_count
        before = heap_size()
        try:
            model = ServedModel.load(message["model"], message["path"], self._options)
        except BaseException as error:
            sock.close()
            known = error if isinstance(error, BaseInferenceToolkitError) else unexpected(error)
            self._server.send(failure(key, known))
            if report_cuda_failure(known, self._options, model=message["model"]):
                self._give_up()
            return
        finally:
            with self._lock:
                self._loading -= 1
                alone = alone and count == self._load_count
        taken = heap_size() - before if alone and before else None
        sock.setblocking(True)
        connection = _Connection(key, sock, model)
        self._connections[connection.fileno] = connection
        self._epoll.register(connection.fileno, select.EPOLLIN)
        self._server.send(success(key, model, time.perf_counter() - started, taken))

    def _on_readable(self, connection: _Connection) -> None:
        try:
            data = connection.socket.recv(SMALL, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close(connection)
            return
        try:
            requests = protocol.parse(data)
        except protocol.IncompleteError:
            self._hand_over(connection, data)
            return
        except protocol.ProtocolError as error:
            log.error("MMS sent what is no message", model=connection.model.name, error=str(error))
            self._close(connection)
            return
        if isinstance(requests, list) and not connection.model.is_quick(requests):
            self._hand_over(connection, data)
            return
        self._answer(connection, requests)

    def _hand_over(self, connection: _Connection, received: bytes) -> None:
        """Have a thread receive the rest of a message, if there is more, and answer it."""
        self._epoll.unregister(connection.fileno)
        with self._lock:
            self._busy += 1
        self._threads.submit(self._answer_on_thread, connection, bytearray(received))

    def _answer_on_thread(self, connection: _Connection, received: bytearray) -> None:
        """Receive the rest of a message and answer it, on a thread of its own."""
        try:
            requests = read_message(connection.socket, received)
            received.clear()
            if requests is not None:
                self._answer(connection, requests)
                del requests
                self._trim_at = time.monotonic() + _TRIM_AFTER
        except protocol.ProtocolError as error:
            log.error("MMS sent what is no message", model=connection.model.name, error=str(error))
            with contextlib.suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)
        except Exception:
            log.exception("a large invocation failed", model=connection.model.name)
            with contextlib.suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)
        finally:
            with self._lock:
                self._busy -= 1
            # The end of the connection, if it has come, is met by the waiting thread.
            self._epoll.register(connection.fileno, select.EPOLLIN)

    def _answer(
        self, connection: _Connection, requests: list[protocol.InvokeRequest] | protocol.LoadRequest
    ) -> None:
        if isinstance(requests, protocol.LoadRequest):
            log.error("MMS asked for a second load on a connection", model=connection.model.name)
            return
        reply, _ = connection.model.reply(requests)
        with contextlib.suppress(OSError):
            connection.socket.sendall(reply)
        self._answered += 1
        if connection.model.lost:
            self._give_up()

    def _close(self, connection: _Connection) -> None:
        """MMS has hung up: the model's memory is free before the server hears of it."""
        del self._connections[connection.fileno]
        with contextlib.suppress(OSError):
            self._epoll.unregister(connection.fileno)
        connection.socket.close()
        with self._lock:
            self._load_count += 1
        counts = connection.model.invocations.take()
        name, key = connection.model.name, connection.key
        del connection
        if self._trim_at is None:
            self._trim_at = time.monotonic() + _TRIM_AFTER
        self._server.send({"event": "closed", "key": key, "model": name, "invocations": counts})

    def _report(self, tag: int) -> None:
        """Tell the server what was counted since the last time, and whether anything runs."""
        self._send_counts()
        self._server.send(
            {"event": "report", "tag": tag, "busy": self._busy, "answered": self._answered}
        )

    def _trim(self, tag: int) -> None:
        trim_memory()
        self._server.send({"event": "trimmed", "tag": tag})

    def _send_counts(self) -> None:
        for connection in list(self._connections.values()):
            if counts := connection.model.invocations.take():
                self._server.send(
                    {"event": "counts", "model": connection.model.name, "invocations": counts}
                )

    def _give_up(self) -> None:
        """End this process, whose CUDA context is lost: another takes its place, and its models."""
        self._send_counts()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def read_message(
    sock: socket.socket, received: bytearray
) -> list[protocol.InvokeRequest] | protocol.LoadRequest | None:
    """Receive until `received` holds one whole message; None when the connection ended first."""
    while True:
        with contextlib.suppress(protocol.IncompleteError):
            return protocol.parse(received)
        piece = sock.recv(1 << 20)
        if not piece:
            return None
        received += piece


def success(key: int, model: ServedModel, seconds: float, taken: int | None) -> Message:
    """The message that a model is loaded; `taken` is the bytes that it was seen to take."""
    return {
        "event": "loaded",
        "key": key,
        "pid": os.getpid(),
        "seconds": seconds,
        "taken": taken,
        "info": model.handler.summary(),
    }


def unexpected(error: BaseException) -> ModelLoadError:
    """What a load that failed in an unforeseen way is reported as."""
    known = ModelLoadError(f"the load failed: {type(error).__name__}: {as_text(error)}")
    known.__cause__ = error
    return known


def failure(key: int, error: BaseInferenceToolkitError) -> Message:
    """The message that a model cannot be loaded."""
    cause = error.__cause__
    return {
        "event": "failed",
        "key": key,
        "status": error_status(error.status_code),
        "reason": as_text(error.message),
        "trace": as_text("".join(traceback.format_exception(cause))) if cause else None,
    }
