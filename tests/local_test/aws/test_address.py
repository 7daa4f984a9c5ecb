"""Where the local SageMaker is written down, and that there is one of it."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys

import pytest

from mme_local.aws.address import Address, RunDirectory, find
from mme_local.errors import LocalError

ADDRESS = Address(
    pid=1,
    sagemaker="http://127.0.0.1:1111",
    aws="http://127.0.0.1:2222",
    region="us-east-1",
    role="role",
    bucket="bucket",
    runtime="embedded",
    version="0",
)
_HOLDER = """
import sys, time
from pathlib import Path
from mme_local.aws.address import Address, RunDirectory

with RunDirectory(Path(sys.argv[1])) as directory:
    directory.announce(Address.model_validate_json(sys.argv[2]))
    print("there", flush=True)
    time.sleep(60)
"""


def test_it_is_found_while_it_runs(tmp_path):
    run = tmp_path / "a" / "run"
    with RunDirectory(run) as directory:
        with pytest.raises(LocalError, match="start one by mme local up"):
            find(run)
        directory.announce(ADDRESS)
        assert find(run) == ADDRESS
    with pytest.raises(LocalError, match="no local SageMaker runs here"):
        find(run)


def test_it_is_for_its_owner_only(tmp_path):
    run = tmp_path / "run"
    run.mkdir(mode=0o777)
    with RunDirectory(run) as directory:
        directory.announce(ADDRESS)
        assert stat.S_IMODE(run.stat().st_mode) == 0o700
        for file in run.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_there_is_one(tmp_path):
    with (
        RunDirectory(tmp_path),
        pytest.raises(LocalError, match=r"runs already in .*: end it by mme local down"),
        RunDirectory(tmp_path),
    ):
        pass


def test_one_that_was_killed_does_not_count(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path), ADDRESS.model_dump_json()],
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout
        holder.stdout.readline()
        assert find(tmp_path) == ADDRESS
        (tmp_path / "endpoints" / "houses").mkdir(parents=True)
        holder.send_signal(signal.SIGKILL)
    assert (tmp_path / "address.json").exists()
    with pytest.raises(LocalError, match="no local SageMaker runs here"):
        find(tmp_path)
    with RunDirectory(tmp_path):
        assert not (tmp_path / "address.json").exists()
        assert not (tmp_path / "endpoints").exists()


def test_a_link_is_refused(tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    link = tmp_path / "link"
    link.symlink_to(real)
    with pytest.raises(LocalError, match="not a directory of yours"), RunDirectory(link):
        pass
    with RunDirectory(real) as directory:
        directory.announce(ADDRESS)
        with pytest.raises(LocalError, match="not a directory of yours"):
            find(link)


def test_a_directory_of_another_user_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("os.getuid", lambda: tmp_path.stat().st_uid + 1)
    with (
        pytest.raises(LocalError, match="name another one by MME_LOCAL_RUN"),
        RunDirectory(tmp_path),
    ):
        pass
