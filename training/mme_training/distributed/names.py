"""Names of workers, and addresses of hosts."""

from __future__ import annotations

import socket
import time

from mme_training.errors import AlgorithmError

_PAUSE = 0.5


def address_of(host: str, patience: float) -> str:
    """The IPv4 address of `host`, asked for again and again for `patience` seconds.

    Raises:
        AlgorithmError: nobody knows the name.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            return socket.gethostbyname(host)
        except OSError as error:
            if time.monotonic() >= deadline:
                raise AlgorithmError(
                    f"the name of the host {host} has no address after {patience:.0f} seconds: "
                    f"{error}"
                ) from error
        time.sleep(_PAUSE)


def worker_name(host: str, index: int) -> str:
    """What Dask knows the worker `index` of `host` by."""
    return f"{host}/{index}"


def host_of(worker: str) -> str:
    """The host of the worker of this name."""
    return worker.rpartition("/")[0]
