"""Git work trees."""

from __future__ import annotations

import subprocess
from pathlib import Path


def git(root: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    command = ["git", "-C", str(root), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def make_tree(root: Path) -> str:
    """A clean tree that an image could be built from; the commit that it is at."""
    (root / "container").mkdir(parents=True)
    (root / "container/Dockerfile").write_text("FROM scratch\n")
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "first")
    return git(root, "rev-parse", "HEAD")
