"""Real clients in virtual environments of their own, and a local SageMaker for them.

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
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.local_up import Local, up

EXAMPLES = Path(__file__).parents[3] / "examples" / "local_sagemaker"

MakeClient = Callable[[str], Path]


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "xgboost-mme" / "clients"


@pytest.fixture(scope="session")
def client() -> MakeClient:
    """The directory of programs of an environment with a requirement: `client("awscli<2")`."""

    def make(requirement: str) -> Path:
        digest = hashlib.sha256(f"{requirement} {sys.version}".encode()).hexdigest()[:12]
        place = _cache() / digest
        place.mkdir(parents=True, exist_ok=True)
        with (place / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # of several runs at a time, one makes it
            if not (place / "made").exists():
                _install(place, requirement)
        return place / "venv" / "bin"

    return make


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


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    with up(tmp_path_factory.mktemp("up")) as running:
        yield running


@pytest.fixture(scope="session")
def example() -> Callable[[str], str]:
    """The path of an example: what runs here is what users are shown."""
    return lambda name: str(EXAMPLES / name)
