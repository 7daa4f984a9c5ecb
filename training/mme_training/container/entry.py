"""``train``, as SageMaker starts it: from the job's files to an exit status."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path

from mme_training.container import user_code
from mme_training.container.config import Config, read_config
from mme_training.container.environment import log_level, variables
from mme_training.container.layout import FAILURE_CHARACTERS, Layout
from mme_training.container.script import ScriptError, run_script
from mme_training.errors import TrainingError

SUCCEEDED = 0
FAILED = 1

_log = logging.getLogger(__name__)


def train(root: Path = Path("/opt/ml")) -> int:
    """Run the training job laid out at `root`; return the process's exit status.

    It is 0 when the model is saved, also after SIGTERM, on which training ends with the round and
    the best model so far is saved. It is 1, or a script's own, when training failed: the reason is
    then in ``output/failure``, as SageMaker shows it, and in the log.
    """
    logging.basicConfig(
        stream=sys.stdout,
        level=logging.INFO,
        format="[%(asctime)s:%(levelname)s] %(message)s",
        force=True,
    )
    layout = Layout(root)
    # At once: to the first process of a container SIGTERM does nothing until someone asks for it.
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        if layout.failure.exists():
            layout.failure.unlink()  # Of a run before this one.
    except OSError as error:
        _log.warning("%s cannot be removed: %s", layout.failure, error)
    try:
        config = read_config(layout)
        logging.getLogger().setLevel(log_level(config))
        _run(config, layout, asked)
    except ScriptError as error:
        return _failed(layout, str(error), error.status)
    except TrainingError as error:
        return _failed(layout, str(error))
    except MemoryError:
        _log.exception("out of memory")
        return _failed(layout, "there was not enough memory: use an instance with more")
    except Exception as error:
        _log.exception("training failed")
        return _failed(layout, f"training failed: {type(error).__name__}: {error}")
    finally:
        # What is done is done: while Python ends, a late SIGTERM would be the exit status.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return SUCCEEDED


def _run(config: Config, layout: Layout, asked: threading.Event) -> None:
    code = user_code.find(config, layout)
    if code and code.program and not code.has_hooks:
        run_script(code, config, layout, asked)
        return
    os.environ.update(variables(config, layout))
    # XGBoost and what reads the data take a second to import, which a script should not wait for.
    from mme_training.container import algorithm

    if code:
        user_code.install_requirements(code)
    algorithm.train(config, layout, code, asked)


def _failed(layout: Layout, reason: str, status: int = FAILED) -> int:
    _log.error("%s", reason)
    try:
        layout.failure.parent.mkdir(parents=True, exist_ok=True)
        # Names of files may be no text.
        layout.failure.write_bytes(reason[:FAILURE_CHARACTERS].encode(errors="backslashreplace"))
    except OSError as error:
        _log.error("%s cannot be written: %s", layout.failure, error)
    return status
