from __future__ import annotations

import socket
import subprocess
import sys

import psutil
import pytest

from mme_training.server import Server, ServerError, identify
from support.archives import booster, fill


def test_a_server_and_what_it_says(tmp_path) -> None:
    models = tmp_path / "models"
    good = fill(models / "good", {"model.ubj": booster()})
    bad = fill(models / "bad", {"model.ubj": b"x"})
    name = identify("Chicago_IL.tar.gz")
    with Server(models, tmp_path / "log") as server:
        server.load(name, good)
        assert server.models() == {name}
        assert set(server.memory()) == {name}
        answer = server.invoke(name, "1,2,3,4,5,6", accept="text/csv")
        assert float(answer.text)
        with pytest.raises(ServerError, match="400: line 1: got 1 value") as caught:
            server.invoke(name, "1")
        assert caught.value.status == 400
        with pytest.raises(ServerError, match=r"'model\.ubj' is not an XGBoost model"):
            server.load("bad", bad)
        server.unload(name)
        assert server.models() == set()
        assert server.stop() == 0


def test_a_port_that_is_taken_is_said(tmp_path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match=f"port {port} is taken"):
            Server(tmp_path, tmp_path / "log", port)


def test_a_server_that_ends_at_once_says_why(tmp_path) -> None:
    settings = {"MME_MEMORY_BUDGET": "plenty"}
    with (
        pytest.raises(ServerError, match="the server ended at once: mme: MME_MEMORY_BUDGET"),
        Server(tmp_path, tmp_path / "log", settings=settings),
    ):
        pass


PROGRAM = """
import sys, time
from pathlib import Path
from mme_training.server import Server

with Server(Path(sys.argv[1]), Path(sys.argv[1]) / "log") as server:
    print(server.pid, flush=True)
    time.sleep(600)
"""


def test_a_server_ends_with_a_process_that_is_killed(tmp_path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        server = psutil.Process(int(process.stdout.readline()))
        everything = [server, *server.children(recursive=True)]
        process.kill()
        _, alive = psutil.wait_procs(everything, timeout=30)
    assert not alive
