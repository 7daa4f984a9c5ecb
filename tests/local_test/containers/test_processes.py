from __future__ import annotations

import subprocess
import sys
import time

import psutil
import pytest

from mme_local.containers.processes import Tree
from support.serving import until

_PARENT = """
import subprocess, sys, time
held = bytearray(64 << 20)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], process_group=0)
print(child.pid, flush=True)
while len(sys.argv) > 1:
    pass
time.sleep(60)
"""


@pytest.fixture
def started():
    """Start a parent with a child of its own group; return the parent and the child's id."""
    parents = []

    def start(*arguments: str) -> tuple[subprocess.Popen[str], int]:
        parent = subprocess.Popen(
            [sys.executable, "-c", _PARENT, *arguments],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        parents.append(parent)
        assert parent.stdout
        return parent, int(parent.stdout.readline())

    yield start
    for parent in parents:
        if parent.poll() is None:
            Tree(parent.pid).kill()
        parent.communicate()


def _ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_memory_and_cpu(started) -> None:
    parent, _ = started("busy")
    tree = Tree(parent.pid)
    tree.usage()
    time.sleep(0.5)
    usage = tree.usage()
    assert usage is not None
    assert 64 << 20 < usage.memory < 256 << 20
    assert 0.01 < usage.cpu < 1.5


def test_all_are_killed(started) -> None:
    parent, child = started()
    Tree(parent.pid).kill()
    parent.wait(10)
    until(lambda: _ended(child), what="the child's end")


def test_who_is_left_of_the_session_is_killed(started) -> None:
    parent, child = started()
    tree = Tree(parent.pid)
    parent.kill()
    parent.wait(10)
    assert tree.usage() is None
    assert not _ended(child)
    tree.kill()
    until(lambda: _ended(child), what="the child's end")


def test_one_that_has_ended_before_anybody_looked() -> None:
    ended = subprocess.Popen(["true"], start_new_session=True)
    ended.wait(10)
    tree = Tree(ended.pid)
    assert tree.usage() is None
    tree.kill()
