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
from collections.abc import Iterable
from typing import Any, Final

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import BaseWSGIServer, make_server

from mme_local.aws import conditions, objects
from mme_local.aws.refusals import (
    Respond,
    denied,
    elsewhere,
    forbidden,
    from_a_page,
    no_operation,
    no_service,
    service_of,
)
from mme_local.iam import simulation
from mme_local.iam.guard import refused
from mme_local.settings import ADDRESS

_PR_SET_PDEATHSIG: Final = 1
_OURS: Final = frozenset({"sagemaker"})
_WARM: Final = ("s3", "iam", "sts", "logs", "cloudwatch")

_COLLECT_AFTER: Final = 32 << 20
"""Bytes of requests."""


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
        if from_a_page(environ):
            return forbidden(environ, respond)
        service = service_of(environ)
        if service in _OURS:
            return elsewhere(environ, respond)
        if text := refused(environ):
            return denied(environ, respond, text)
        if simulated := simulation.answer(environ):
            return simulated(environ, respond)
        try:
            answer: Iterable[bytes] = self._moto(environ, respond)
        except NotImplementedError as error:
            return no_operation(environ, respond, error)
        except Exception:
            if service and self._moto.get_backend_for_host(f"{service}.amazonaws.com") is None:
                return no_service(environ, respond)
            raise
        finally:
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
    conditions.install()
    application = Application()
    server: BaseWSGIServer = make_server(
        ADDRESS, int(sys.argv[1]), application, threaded=True, request_handler=_Handler
    )
    application.warm()
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # moto prints, too
    server.serve_forever()


if __name__ == "__main__":
    main()
