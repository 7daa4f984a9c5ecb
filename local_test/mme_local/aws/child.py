"""The process that serves AWS's services around SageMaker: moto's server, on loopback only.

Started by `server.py`, and ended with it, however that ends. Prints its port once it listens.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import BaseWSGIServer, make_server

from mme_local.aws import objects
from mme_local.settings import ADDRESS

_PR_SET_PDEATHSIG: Final = 1
_OURS: Final = frozenset({"sagemaker"})
_WARM: Final = ("s3", "iam", "sts", "logs", "cloudwatch")

_COLLECT_AFTER: Final = 32 << 20
"""Bytes of requests."""

Respond = Callable[[str, list[tuple[str, str]]], Any]


class Application:
    """moto's services but SageMaker, which is answered by what stands beside this process."""

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._received = 0

    def warm(self) -> None:
        """Import the services that are always used, before the first client waits for it."""
        for service in _WARM:
            self._moto.app_instances[service] = create_backend_app(service)
        gc.freeze()  # what lives for ever is not looked at again

    def __call__(self, environ: dict[str, Any], respond: Respond) -> Iterable[bytes]:
        """Answer a request, as WSGI has it."""
        if _service(environ) in _OURS:
            return _refuse(respond)
        answer: Iterable[bytes] = self._moto(environ, respond)
        self._free(int(environ.get("CONTENT_LENGTH") or 0))
        return answer

    def _free(self, received: int) -> None:
        """Free the bodies of requests: moto leaves them in cycles, which count as small to Python.

        Threads may count wrong between them; it does not matter.
        """
        self._received += received
        if self._received > _COLLECT_AFTER:
            self._received = 0
            gc.collect()


def _service(environ: dict[str, Any]) -> str:
    """The service that a request is signed for: ``Credential=KEY/DAY/REGION/SERVICE/…``."""
    scope = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].split("/")
    return scope[3] if len(scope) > 3 else ""


def _refuse(respond: Respond) -> Iterable[bytes]:
    text = (
        b'{"__type":"UnknownOperationException","message":"SageMaker is not at this address but at '
        b"that of AWS_ENDPOINT_URL_SAGEMAKER and AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME: run the "
        b'client by mme local exec"}'
    )
    respond(
        "400 BAD REQUEST",
        [
            ("Content-Type", "application/x-amz-json-1.1"),
            ("Content-Length", str(len(text))),
            ("x-amzn-ErrorType", "UnknownOperationException"),
        ],
    )
    return [text]


class _Handler(MotoRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept
    disable_nagle_algorithm = True  # a small answer is sent at once

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log failures only: a line for each request would be most of what is written."""
        if isinstance(code, int) and code >= 500:
            super().log_request(code, size)


def main() -> None:
    """Serve on the port of the first argument, 0 for any, until the parent process is gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(sys.argv[2]):  # it went before the line above
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when, after what it has to do
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # an object may be an open file
    objects.install()
    application = Application()
    server: BaseWSGIServer = make_server(
        ADDRESS, int(sys.argv[1]), application, threaded=True, request_handler=_Handler
    )
    application.warm()
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.close()
    server.serve_forever()


if __name__ == "__main__":
    main()
