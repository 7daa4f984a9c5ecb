"""The whole server ends: it is killed, terminated or interrupted."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from support.crowds import CLIENTS, CODE, ROW, SLOW_CODE, Traffic, alive, processes
from support.models import Model
from support.serving import Server, until


@pytest.fixture
def small_crowd(make_server, make_model) -> Server:
    server = make_server()
    for _ in range(5):
        server.add(make_model())
    for _ in range(2):
        server.add(make_model(files={"code/inference.py": CODE}))
    roles = server.pids()
    assert all(roles[role] for role in roles if role != "other"), roles
    assert roles["other"] == []
    return server


def test_mms_is_killed(small_crowd):
    family = processes(small_crowd)
    os.kill(small_crowd.pids()["java"][0], signal.SIGKILL)
    killed = time.monotonic()
    assert small_crowd.process.wait(5) == 1
    until(lambda: not alive(family), 5 - (time.monotonic() - killed), "no process left")
    assert not small_crowd.run_directory.exists()


def test_the_server_itself_is_killed(small_crowd):
    family = processes(small_crowd)
    small_crowd.kill(signal.SIGKILL)
    until(lambda: not alive(family), 5, f"no process left of {alive(family)}")


def test_the_server_itself_is_killed_while_models_are_loaded(make_server, make_model):
    """No launcher is left that waits to be told to go on."""
    server = make_server()
    models = [make_model() for _ in range(40)]
    threads = [threading.Thread(target=_load_all, args=(server, models[n::4])) for n in range(4)]
    for thread in threads:
        thread.start()
    family: dict[int, psutil.Process] = {}

    def look() -> int:
        family.update((process.pid, process) for process in processes(server))
        return len(server.pids()["launchers"])

    until(lambda: look() > 5, what="launchers")
    look()
    server.kill(signal.SIGKILL)
    for thread in threads:
        thread.join(30)
    try:
        until(lambda: not _of_run(server.run_directory), 5, "no process left")
        until(lambda: not alive(list(family.values())), 5, "no process left")
    finally:
        for process in _of_run(server.run_directory):
            process.kill()


def _load_all(server: Server, models: list[Model]) -> None:
    with suppress(httpx.TransportError):
        for model in models:
            server.load(model.name, model.path)


def _of_run(run_directory: Path) -> list[psutil.Process]:
    """All processes on this machine whose command line names the run directory."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess):
            if f"{run_directory}/" in " ".join(process.cmdline()):
                found.append(process)
    return found


def test_everything_is_killed_and_started_again(small_crowd, make_server, make_model):
    family = processes(small_crowd)
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    until(lambda: not alive(family), 5, "no process left")
    assert small_crowd.run_directory.exists()  # left over, and in nobody's way
    again = make_server(port=small_crowd.port)
    model = again.add(make_model())
    assert again.invoke(model.name, ROW).status_code == 200
    assert again.names() == {model.name}
    assert again.stop() == 0


@pytest.mark.parametrize("clients_go_on", [False, True])
def test_terminated_under_traffic(small_crowd, make_model, tmp_path, clients_go_on):
    """What is under way is finished.

    Clients that send their last request before the signal all get their answers. Those that go on
    hold up the end by a few seconds, and lose at most the one request each that is on its way then.
    """
    server, mark = small_crowd, tmp_path / "in predict_fn"
    names = sorted(server.names())
    code = SLOW_CODE.format(mark=str(mark))
    slow = server.add(make_model(files={"code/inference.py": code}))
    answer: list[int] = []
    thread = threading.Thread(
        target=lambda: answer.append(server.invoke(slow.name, ROW).status_code)
    )
    family = processes(server)
    with Traffic(server, names, ends_at_error=True) as traffic:
        thread.start()
        until(mark.exists)
        server.kill(signal.SIGTERM)
        terminated = time.monotonic()
        if not clients_go_on:
            traffic.stop()
        assert server.process.wait(10) == 0
    took = time.monotonic() - terminated
    thread.join(5)
    print(f"ended {took:.2f} s after SIGTERM, errors {traffic.errors}")  # noqa: T201
    assert answer == [200]
    assert len(traffic.errors) <= (CLIENTS if clients_go_on else 0)
    assert clients_go_on or took < 4
    assert alive(family) == []
    assert not server.run_directory.exists()


def test_interrupted_with_nothing_to_do(make_server):
    """Ctrl-C."""
    server = make_server()
    started = time.monotonic()
    assert server.stop(signal.SIGINT, 5) == 0
    assert time.monotonic() - started < 3
    assert not server.run_directory.exists()
