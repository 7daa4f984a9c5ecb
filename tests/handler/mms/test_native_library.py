"""A temporary directory from which no program may be loaded is refused at the start."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MME = Path(sys.executable).with_name("mme")


@pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("unshare") is None,
    reason="it mounts a file system: run the tests as root, with unshare(1) of util-linux",
)
def test_a_noexec_temporary_directory_is_refused(tmp_path):
    directory = tmp_path / "t"
    directory.mkdir()
    mount = f"mount -t tmpfs -o noexec tmpfs {directory} && exec {MME} serve --port 31999"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount],
        env={**os.environ, "TMPDIR": str(directory), "SAGEMAKER_MULTI_MODEL": "true"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert f"{directory} is mounted noexec" in done.stderr
    assert "TMPDIR" in done.stderr
    assert "Traceback" not in done.stderr
