"""The git work tree that the image is built from: its commit, and what no commit holds."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from mme_hosting.errors import HostingError

_MARK = "container/Dockerfile"  # a tree without it is somebody's, but not the image's


@dataclass(frozen=True, slots=True)
class SourceTree:
    """A work tree; `changes` are the files that differ from the commit `revision`."""

    root: Path
    revision: str
    changes: tuple[str, ...]


def find(directory: Path) -> SourceTree | None:
    """The source of the image that `directory` is in; None if it is in none.

    Raises:
        HostingError: git cannot say what has changed in it.
    """
    root = next((d for d in (directory, *directory.parents) if (d / ".git").exists()), None)
    if root is None or not (root / _MARK).is_file():
        return None
    changed = _git(root, "status", "--porcelain", "-z", "--no-renames").split("\0")
    return SourceTree(
        root,
        _git(root, "rev-parse", "HEAD").strip(),
        tuple(line[3:] for line in changed if line),
    )


def _git(root: Path, *arguments: str) -> str:
    program = shutil.which("git")
    if program is None:
        raise HostingError(f"git is not installed, so that nobody knows what has changed in {root}")
    # A hook of git's sets these for its own repository, which need not be this one.
    environment = {name: value for name, value in os.environ.items() if name[:4] != "GIT_"}
    done = subprocess.run(
        [program, "--no-optional-locks", "-C", str(root), *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        env=environment,
        check=False,
    )
    if done.returncode:
        raise HostingError(f"git cannot say what has changed in {root}: {done.stderr.strip()}")
    return done.stdout
