"""This machine: software, disk, Docker, ports."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

from mme_hosting.doctor.findings import Finding, failed, ok, warning
from mme_hosting.doctor.setup import Setup
from mme_hosting.errors import HostingError
from mme_hosting.images.engine import connect
from mme_training.server import is_free

_GIB: Final = 2**30
_PORTS: Final = {"mme serve": 8080, "mme local up": 8765}
_LEAST_FREE: Final = 5 * _GIB  # the larger image while it is built, and some models


def software(setup: Setup) -> Iterator[Finding]:
    """Python, and boto3 of the version that this package needs."""
    needed = _needed("boto3")
    found = metadata.version("boto3")
    text = f"Python {platform.python_version()}, boto3 {found}"
    if needed.specifier.contains(found, prereleases=True):
        yield ok(text)
    else:
        yield failed(
            f"{text}: it must be {needed.specifier}, older ones do not know all that is asked for",
            f"pip install '{needed.name}{needed.specifier}'",
        )


def disk(setup: Setup) -> Iterator[Finding]:
    """Room for images and archives."""
    free = shutil.disk_usage(Path.cwd()).free
    text = f"{free / _GIB:,.0f} GiB are free in {Path.cwd()}"
    if free >= _LEAST_FREE:
        yield ok(text)
    else:
        yield warning(f"{text}: images and archives may need {_LEAST_FREE / _GIB:.0f}")


def docker(setup: Setup) -> Iterator[Finding]:
    """The engine, from which images are pushed."""
    try:
        version = connect().version()["Version"]
    except HostingError as error:
        yield warning(f"{error}; only make image and mme push need it")
    else:
        yield ok(f"the engine {version} answers")


def ports(setup: Setup) -> Iterator[Finding]:
    """Those that programs of mme listen on unless they are told another."""
    wanted = dict(_PORTS)
    if setup.emulated:  # by mme local up, which runs
        del wanted["mme local up"]
    taken = {program: port for program, port in wanted.items() if not is_free(port)}
    for program, port in taken.items():
        yield warning(f"port {port} is taken", f"{program} --port {port + 1}")
    if not taken:
        free = ", ".join(f"{port} ({program})" for program, port in wanted.items())
        yield ok(f"free on this machine: {free}")


def _needed(package: str) -> Requirement:
    """What pyproject.toml says of a package."""
    listed = map(Requirement, metadata.requires("xgboost-mme") or [])
    return next(each for each in listed if each.name == package)
