"""The process that has imported everything and run nothing; every worker is forked from it.

A forked worker shares the libraries copy-on-write and starts in milliseconds. XGBoost must not
have run OpenMP work in a process that is forked later (dmlc/xgboost#8040: predict hangs), so the
zygote loads no model and stays single-threaded. Nor must CUDA have been initialised in it, which no
forked process could use: to import XGBoost does not do so. Which GPU a worker sees is decided when
it is forked.

It forks a worker when the server asks for one, and tells the server how each one ended.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
from typing import Any

from mme_handler import logs
from mme_handler.workers import isolated, shared
from mme_handler.workers.channel import Channel, Message

_MAIN = {"shared": shared.main, "isolated": isolated.main}


def main(descriptor: int, mms_group: int) -> None:
    """Serve fork requests that arrive on the socket `descriptor` until it ends.

    The end of the socket is the end of the server. If it was killed, MMS is gone with it, but a
    launcher may have stopped itself a moment later, and nobody else is left to end it.
    """
    server = Channel(socket.socket(fileno=descriptor))
    wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    # What is alive now is never collected, and so never written to and copied by a worker.
    gc.collect()
    gc.freeze()
    server.send({"event": "ready"})
    try:
        while True:
            ready, _, _ = select.select([server.fileno(), wake_read], [], [])
            if wake_read in ready:
                os.read(wake_read, 4096)
                _report_ended(server)
            if server.fileno() in ready:
                for message, descriptors in server.receive():
                    _fork(server, message, descriptors, (wake_read, wake_write))
    except (EOFError, BrokenPipeError):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(mms_group, signal.SIGKILL)


def _fork(server: Channel, message: Message, descriptors: list[int], wake: tuple[int, int]) -> None:
    (descriptor,) = descriptors
    pid = os.fork()
    if pid:
        os.close(descriptor)
        server.send({"event": "forked", "home": message["home"], "pid": pid})
        return
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for end in wake:
            os.close(end)
        server.close()
        logs.configure(json_lines=message["json_logs"])
        _run(message, Channel(socket.socket(fileno=descriptor)))
        status = 0
    except BaseException:
        logs.get_logger(__name__).exception("worker failed", pid=os.getpid())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _run(message: Message, channel: Channel) -> None:
    options: dict[str, Any] = message["options"]
    os.environ.update(message["environment"])
    _MAIN[message["kind"]](channel, options)


def _report_ended(server: Channel) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        server.send({"event": "exited", "pid": pid, "status": os.waitstatus_to_exitcode(status)})


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
