"""Script mode: the user's own program trains."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Any

from mme_training.container.config import Config
from mme_training.container.environment import script_arguments, variables
from mme_training.container.layout import Layout
from mme_training.container.user_code import UserCode, install_requirements

_LINES_KEPT = 12

_log = logging.getLogger(__name__)


class ScriptError(Exception):
    """The script ended with another status than 0, which is `status`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def run_script(code: UserCode, config: Config, layout: Layout) -> None:
    """Run the program with the hyperparameters as arguments and the ``SM_*`` variables.

    It runs in its own directory. SIGTERM is passed on to it.

    Raises:
        ScriptError: it fails; the message ends with the last lines of its standard error.
        UserError: its requirements cannot be installed.
    """
    if code.program is None:
        raise ValueError("there is no program to run")
    install_requirements(code)
    for directory in (layout.model, layout.output / "data"):
        directory.mkdir(parents=True, exist_ok=True)
    interpreter = [sys.executable] if code.program.suffix == ".py" else ["/bin/sh"]
    command = [*interpreter, str(code.program), *script_arguments(config)]
    _log.info("Invoking script: %s", " ".join(command))
    paths = [str(code.directory), os.environ.get("PYTHONPATH", "")]
    process = subprocess.Popen(
        command,
        cwd=code.directory,
        env={
            **os.environ,
            **variables(config, layout, str(code.program.relative_to(code.directory))),
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PYTHONUNBUFFERED": "1",
        },
        stderr=subprocess.PIPE,
    )
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        last = _pass_on(process.stderr)
        status = process.wait()
    finally:
        signal.signal(signal.SIGTERM, before)
    if status:
        raise ScriptError(
            status if status > 0 else 128 - status, _failure(code.program, status, last)
        )


def _pass_on(stream: Any) -> list[str]:
    """Copy the script's standard error to ours, and return its last lines."""
    last: deque[str] = deque(maxlen=_LINES_KEPT)
    for line in stream:
        sys.stderr.buffer.write(line)
        sys.stderr.flush()
        last.append(line.decode(errors="replace").rstrip())
    return list(last)


def _failure(program: Path, status: int, last: list[str]) -> str:
    how = f"with status {status}" if status > 0 else f"by {signal.Signals(-status).name}"
    said = f": {last[-1]}\n" + "\n".join(last) if last else ""
    return f"{program.name} ended {how}{said}"
