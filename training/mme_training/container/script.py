"""Script mode: the user's own program trains."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

from mme_training.container.config import Config
from mme_training.container.environment import script_arguments, variables
from mme_training.container.layout import Layout
from mme_training.container.user_code import UserCode, install_requirements

_LINES_KEPT = 12
_BYTES_KEPT = 16_384
_PATIENCE = 5.0
"""Seconds for the rest of standard error, which what the script has left running may keep open."""

_log = logging.getLogger(__name__)


class ScriptError(Exception):
    """The script ended with another status than 0, which is `status`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def run_script(code: UserCode, config: Config, layout: Layout, asked: threading.Event) -> None:
    """Run the program with the hyperparameters as arguments and the ``SM_*`` variables.

    It runs in its own directory. SIGTERM is passed on to it, also one that came before it ran:
    `asked` is then set.

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
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    if asked.is_set():
        process.terminate()
    last = bytearray()
    reader = threading.Thread(target=_pass_on, args=(process.stderr, last), daemon=True)
    reader.start()
    status = process.wait()
    reader.join(_PATIENCE)
    if status:
        lines = last.decode(errors="replace").splitlines()[-_LINES_KEPT:]
        raise ScriptError(
            status if status > 0 else 128 - status,
            _failure(code.program, status, [line.rstrip() for line in lines]),
        )


def _pass_on(stream: IO[bytes], last: bytearray) -> None:
    """Copy the script's standard error to ours as it comes, and its last bytes to `last`."""
    while content := os.read(stream.fileno(), _BYTES_KEPT):
        os.write(sys.stderr.fileno(), content)
        last += content
        del last[:-_BYTES_KEPT]


def _failure(program: Path, status: int, last: list[str]) -> str:
    how = f"with status {status}" if status > 0 else f"by {signal.Signals(-status).name}"
    said = f": {last[-1]}\n" + "\n".join(last) if last else ""
    return f"{program.name} ended {how}{said}"
