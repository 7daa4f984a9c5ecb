"""A process that trains one segment after another, until its parent has no more or is gone.

Run as ``python -m mme_training.many.worker FD``, where FD is its end of a pair of sockets. It is
a program of its own and no fork: OpenMP may hang in a fork, and what the parent has loaded, or runs
as its main module, is nothing to it.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import warnings
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def main() -> None:
    """Answer each pair of a segment and its fingerprint with a record, in order."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends this one
    connection = Connection(int(sys.argv[1]))
    if connection.recv() != os.getppid():  # gone already
        return
    _import_xgboost()
    import pyarrow as pa

    from mme_training.many.task import train_segment

    pa.set_cpu_count(1)
    logging.getLogger("mme_training.hyperparameters").setLevel(logging.ERROR)  # said by the parent
    # Said every second of some segment that is not named; the metric of that segment is NaN.
    warnings.filterwarnings("ignore", r".*\bauc\b.*: Dataset is empty, or contains only")
    plan = connection.recv()
    with suppress(EOFError, OSError):  # the parent is gone, or wants no more
        connection.send(None)
        while True:
            connection.send(train_segment(plan, *connection.recv()))


def _import_xgboost() -> None:
    """XGBoost imports scikit-learn for classes that nobody needs here: most of a second."""
    sys.modules["sklearn"] = None  # type: ignore[assignment]
    try:
        import xgboost  # noqa: F401
    finally:
        del sys.modules["sklearn"]


if __name__ == "__main__":
    main()
