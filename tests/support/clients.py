"""Real clients of AWS in virtual environments of their own.

The environments are kept between runs, in ``~/.cache/xgboost-mme/clients``: making them downloads
up to a gigabyte. Another version of a client is another directory.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

AWS_CLI = "awscli>=1.40,<2"


def programs(requirement: str) -> Path:
    """The directory of programs of an environment with a requirement, made if it is not there."""
    digest = hashlib.sha256(f"{requirement} {sys.version}".encode()).hexdigest()[:12]
    place = _cache() / digest
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several runs at a time, one makes it
        if not (place / "made").exists():
            _install(place, requirement)
    return place / "venv" / "bin"


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "xgboost-mme" / "clients"


def _install(place: Path, requirement: str) -> None:
    venv.create(place / "venv", clear=True, with_pip=True)
    pip = [str(place / "venv/bin/python"), "-m", "pip", "--disable-pip-version-check", "install"]
    done = subprocess.run([*pip, "-q", requirement], text=True, capture_output=True, check=False)
    if done.returncode:
        pytest.fail(
            f"{requirement} cannot be installed into {place}: this test needs PyPI once. Leave it "
            f"out by -m 'not slow', or see what pip says:\n{done.stderr[-1000:]}",
            pytrace=False,
        )
    (place / "made").write_text(requirement)
