"""Runs pip, and says in one line why it failed."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from typing import Final

INSTALL: Final = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input")
"""What follows the interpreter's name."""

_SECONDS = 900
_PASSWORD = re.compile(r"(?<=://)[^/\s@]+@")


class PipError(Exception):
    """pip, or another command that installs, failed; the message is its reason."""


def run(command: Sequence[str]) -> None:
    """Run a command that installs something.

    Raises:
        PipError: it failed, or took more than a quarter of an hour.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise PipError(f"it takes more than {_SECONDS} s") from error
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR:")] or lines[-1:]
        reason = errors[-1].removeprefix("ERROR:").strip() if errors else "no reason given"
        raise PipError(_PASSWORD.sub("", reason))
