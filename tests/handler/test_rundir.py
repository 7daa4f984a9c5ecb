"""The run directory of a server: private, locked, and clean."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mme_handler.rundir import RunDirectory, RunDirectoryError

PORT = 12345


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch) -> Path:
    # pytest's own directory may be too long to hold sockets.
    with tempfile.TemporaryDirectory(prefix="m") as directory:
        monkeypatch.setattr(tempfile, "tempdir", directory)
        yield Path(directory)


def test_private_and_gone_afterwards(temporary):
    with RunDirectory(PORT) as path:
        assert path == temporary / f"mme-{os.getuid()}-{PORT}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert path.stat().st_uid == os.getuid()
        assert stat.S_IMODE(path.with_suffix(".lock").stat().st_mode) == 0o600
        (path / "tmp").mkdir()
        (path / "tmp" / "file").write_text("x")
    assert not path.exists()


def test_private_whatever_the_umask():
    before = os.umask(0)
    try:
        with RunDirectory(PORT) as path:
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
    finally:
        os.umask(before)


def test_gone_after_an_error():
    with pytest.raises(ZeroDivisionError), RunDirectory(PORT) as path:
        _ = 1 // 0
    assert not path.exists()


def test_locked_while_in_use():
    with RunDirectory(PORT) as path:
        (path / "mine").write_text("x")
        with pytest.raises(RunDirectoryError, match="is in use by another server"):
            RunDirectory(PORT).__enter__()
        assert (path / "mine").exists()
    with RunDirectory(PORT):
        pass


def test_servers_on_other_ports():
    with RunDirectory(PORT) as one, RunDirectory(PORT + 1) as other:
        assert one != other


def test_left_overs_are_removed():
    directory = RunDirectory(PORT)
    directory.path.mkdir()
    (directory.path / "old").mkdir()
    (directory.path / "old" / "socket").write_text("x")
    os.mkfifo(directory.path / "fifo")
    with directory as path:
        assert list(path.iterdir()) == []


def test_what_a_killed_server_left_behind(temporary):
    code = (
        "import sys, tempfile, time; from mme_handler.rundir import RunDirectory\n"
        f"tempfile.tempdir = {str(temporary)!r}\n"
        f"with RunDirectory({PORT}) as path:\n"
        "    (path / 'left').write_text('x'); print('in', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"in\n"
        with pytest.raises(RunDirectoryError, match="in use"):
            RunDirectory(PORT).__enter__()
        process.send_signal(signal.SIGKILL)
    with RunDirectory(PORT) as path:
        assert not (path / "left").exists()


def test_the_lock_is_not_inherited():
    """A process that outlives the server must not keep its port from the next one."""
    with RunDirectory(PORT) as path, path.with_suffix(".lock").open() as lock:
        (held,) = [fd for fd in open_descriptors() if same_file(fd, lock.fileno())]
        assert not os.get_inheritable(held)
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def open_descriptors() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc/self/fd")]  # noqa: PTH208


def same_file(descriptor: int, other: int) -> bool:
    try:
        return descriptor != other and os.path.sameopenfile(descriptor, other)
    except OSError:
        return False


def test_a_link_in_the_locks_place_is_not_followed(temporary):
    target = temporary / "precious"
    RunDirectory(PORT).path.with_suffix(".lock").symlink_to(target)
    with pytest.raises(OSError):
        RunDirectory(PORT).__enter__()
    assert not target.exists()


def test_a_link_in_the_directorys_place_is_not_followed(temporary):
    precious = temporary / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    RunDirectory(PORT).path.symlink_to(precious)
    with pytest.raises(OSError):
        RunDirectory(PORT).__enter__()
    assert (precious / "file").exists()


def test_too_long_for_a_socket(temporary, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", f"{temporary}/{'x' * 90}")
    with pytest.raises(RunDirectoryError, match="too long to hold Unix sockets: point TMPDIR"):
        RunDirectory(PORT)
