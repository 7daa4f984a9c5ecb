"""The limit of a control group, of either version."""

from __future__ import annotations

from pathlib import Path

import pytest

from mme_handler.models.memory import (
    Cgroup,
)

UNLIMITED_V1 = str(2**63 - 4096)


class Tree:
    """A directory that looks like /sys/fs/cgroup and /proc/self."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "cgroup"
        self.proc = directory / "proc"
        self.root.mkdir()
        self.proc.mkdir()

    def belongs(self, *lines: str) -> None:
        (self.proc / "cgroup").write_text("".join(f"{line}\n" for line in lines))

    def write(self, group: str, **files: str) -> None:
        directory = self.root / group
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (directory / name.replace("__", ".")).write_text(text + "\n")

    def cgroup(self) -> Cgroup:
        return Cgroup(self.root, self.proc)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


V2_STAT = "anon 5000\nfile 9999999\nkernel 70\nshmem 600\nslab 4"


V1_STAT = "cache 999\nrss 10\ntotal_cache 77777\ntotal_rss 4300\ntotal_shmem 21\ntotal_swap 5"


def test_v2(tree):
    tree.belongs("0::/app")
    tree.write("app", memory__max="1000000", memory__stat=V2_STAT)
    cgroup = tree.cgroup()
    assert cgroup.limit == 1_000_000
    assert cgroup.used() == 5670  # what can be taken back does not count


def test_v2_in_a_container_its_group_is_the_root(tree):
    tree.belongs("0::/")
    tree.write("", memory__max="2000000", memory__stat="anon 1\nfile 2")
    assert tree.cgroup().limit == 2_000_000
    assert tree.cgroup().used() == 1


def test_v2_without_a_limit(tree):
    tree.belongs("0::/a/b")
    tree.write("a/b", memory__max="max", memory__stat=V2_STAT)
    tree.write("a", memory__max="max")
    cgroup = tree.cgroup()
    assert cgroup.limit is None
    assert cgroup.used() == 0


def test_v2_the_limit_of_an_outer_group_holds(tree):
    tree.belongs("0::/pod/container")
    tree.write("pod/container", memory__max="max", memory__stat="anon 1")
    tree.write("pod", memory__max="3000000", memory__stat="anon 22")
    cgroup = tree.cgroup()
    assert cgroup.limit == 3_000_000
    assert cgroup.used() == 22  # of the group whose limit it is


@pytest.mark.parametrize(("inner", "outer"), [(1_000, 5_000), (5_000, 1_000)])
def test_v2_of_nested_limits_the_smaller_holds(tree, inner, outer):
    tree.belongs("0::/pod/container")
    tree.write("pod/container", memory__max=str(inner), memory__stat="anon 1")
    tree.write("pod", memory__max=str(outer), memory__stat="anon 2")
    assert tree.cgroup().limit == 1_000


def test_v2_a_group_that_is_not_mounted_here(tree):
    """The path is that of the host, and the container sees its own group as the root."""
    tree.belongs("0::/system.slice/docker-abc.scope")
    tree.write("", memory__max="4000000", memory__stat="anon 9")
    assert tree.cgroup().limit == 4_000_000


def test_v1(tree):
    tree.belongs("12:pids:/x", "4:cpu,memory:/app", "0::/")
    tree.write("memory/app", memory__limit_in_bytes="1000000", memory__stat=V1_STAT)
    tree.write("memory", memory__limit_in_bytes=UNLIMITED_V1)
    cgroup = tree.cgroup()
    assert cgroup.limit == 1_000_000
    assert cgroup.used() == 4321


def test_v1_without_a_limit(tree):
    tree.belongs("4:memory:/app")
    tree.write("memory/app", memory__limit_in_bytes=UNLIMITED_V1, memory__stat=V1_STAT)
    tree.write("memory", memory__limit_in_bytes=UNLIMITED_V1)
    assert tree.cgroup().limit is None


def test_v1_in_a_container(tree):
    tree.belongs("4:memory:/docker/abc")
    tree.write("memory", memory__limit_in_bytes="5000000", memory__stat=V1_STAT)
    assert tree.cgroup().limit == 5_000_000


def test_v1_nested(tree):
    tree.belongs("4:memory:/pod/container")
    tree.write("memory/pod/container", memory__limit_in_bytes=UNLIMITED_V1)
    tree.write("memory/pod", memory__limit_in_bytes="6000000", memory__stat=V1_STAT)
    assert tree.cgroup().limit == 6_000_000


def test_v1_beside_an_empty_v2(tree):
    tree.belongs("0::/", "4:memory:/app")
    tree.write("memory/app", memory__limit_in_bytes="7000000", memory__stat=V1_STAT)
    assert tree.cgroup().limit == 7_000_000


def test_a_name_that_looks_like_the_controller(tree):
    tree.belongs("1:name=memory:/app", "0::/")
    assert tree.cgroup().limit is None


def test_a_path_with_colons(tree):
    tree.belongs("0::/a:b")
    tree.write("a:b", memory__max="8000000")
    assert tree.cgroup().limit == 8_000_000


def test_no_control_groups(tree):
    cgroup = tree.cgroup()
    assert cgroup.limit is None
    assert cgroup.used() == 0


def test_the_statistics_are_gone(tree):
    tree.belongs("0::/app")
    tree.write("app", memory__max="1000000")
    assert tree.cgroup().used() == 0


def test_this_machines_own():
    cgroup = Cgroup()
    assert cgroup.limit is None or cgroup.limit > 0
    assert cgroup.used() >= 0
