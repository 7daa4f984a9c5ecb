import resource
import subprocess
from pathlib import Path

import pytest

from mme_handler.mms.no_listing import limit_descriptors, no_listing

# In a shell, for a Python lists directories to start.
_PROBES = {
    "list": "ls /proc/self/fd",
    "stat": "test -d /proc/self/fd",
    "read": "read line </proc/self/stat",
    "program": "/bin/sh -c :",
}


def _tried(probe: str) -> subprocess.CompletedProcess[str]:
    command = ["/bin/sh", "-c", _PROBES[probe]]
    return subprocess.run(command, preexec_fn=no_listing(), capture_output=True, text=True)


def test_a_directory_cannot_be_listed():
    result = _tried("list")
    assert result.returncode != 0
    assert "Permission denied" in result.stderr


@pytest.mark.parametrize("what", ["stat", "read", "program"])
def test_all_else_works(what):
    assert _tried(what).returncode == 0


def test_this_process_is_not_concerned():
    assert list(Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize(
    ("models", "limit"), [(0, 4096), (1000, 4096), (1025, 8192), (3000, 8192), (6000, 16384)]
)
def test_the_limit_follows_the_models(models, limit):
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as process:
        limit_descriptors(process.pid, models)
        assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE)[0] == limit
        process.stdin.close()


def test_the_limit_stays_below_the_hard_one():
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as process:
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (1000, 5000))
        limit_descriptors(process.pid, 6000)
        assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (5000, 5000)
        process.stdin.close()
