"""Code that models bring, at its worst: it harms its own model and no other."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import psutil
import pytest

from support.models import FEATURES, Model, ModelStore, csv_of, make_rows
from support.serving import Server, until

ROW = csv_of(make_rows(1, seed=5))
TIMEOUT = 2.0
BATCH_ROWS = 100_000

HANGS = """
import time

def predict_fn(data, model):
    wait_for_godot()

def wait_for_godot():
    time.sleep(1000)
"""
SPINS = "def predict_fn(data, model):\n    while True:\n        pass\n"
# The regular expression runs in C and never lets go of the interpreter.
HANGS_IN_C = """
import re

def predict_fn(data, model):
    re.match("(a+)+$", "a" * 60 + "b")
"""
HANGS_ON_LOAD = "import time\n\ndef model_fn(model_dir):\n    time.sleep(1000)\n"
HANGS_ON_IMPORT = "import time\n\ntime.sleep(1000)\n"
ENDS = "def predict_fn(data, model):\n    {statement}\n"
ENDS_ON_LOAD = "def model_fn(model_dir):\n    {statement}\n"
LEAKS = """
kept = []

def predict_fn(data, model):
    kept.append(bytearray(20 << 20))
    return [float(len(kept))]
"""
STARTS_A_CHILD = """
import pathlib
import subprocess

def pre_model_fn(model_dir):
    child = subprocess.Popen(["sleep", "1000"])
    pathlib.Path({file!r}).write_text(str(child.pid))
"""
PRINTS = """
import os
import sys

def predict_fn(data, model):
    for number in range(2000):
        print("out", "x" * 100)
        print("err", "x" * 100, file=sys.stderr)
    os.write(1, b"no end of line")
    return [1.0]
"""


@pytest.fixture(scope="module")
def strict_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    env = {
        "MME_MODEL_TIMEOUT": f"{TIMEOUT:.0f}",
        "MME_MODEL_MEMORY_LIMIT": "150m",
        "MME_HOSTS": "2",
    }
    with Server(tmp_path_factory.mktemp("strict"), env=env) as server:
        yield server


@pytest.fixture
def strict(strict_server: Server) -> Iterator[Server]:
    yield strict_server
    strict_server.unload_all()
    until(lambda: not strict_server.pids()["isolated"], what="no isolated worker")
    until(lambda: not strict_server.pids()["other"], what="no other process")


@pytest.fixture
def neighbour(strict: Server, make_model: ModelStore) -> Model:
    return strict.add(make_model())


@pytest.fixture
def with_code(make_model: ModelStore) -> Callable[[str], Model]:
    """Write an archive with this ``inference.py``."""
    return lambda code: make_model(files={"code/inference.py": code})


def assert_answers(server: Server, model: Model) -> None:
    response = server.invoke(model.name, ROW, headers={"accept": "text/csv"})
    assert response.status_code == 200
    assert float(response.text) == pytest.approx(model.predict(make_rows(1, seed=5))[0], rel=1e-5)


# -- Hangs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "place"),
    [(HANGS, "wait_for_godot"), (SPINS, "predict_fn"), (HANGS_IN_C, "predict_fn")],
    ids=["sleeps", "spins", "in C"],
)
def test_hangs_in_an_invocation(strict, neighbour, with_code, code, place):
    model = strict.add(with_code(code))
    (worker,) = strict.pids()["isolated"]
    log_before = len(strict.log_text())
    started = time.monotonic()
    assert strict.invoke(model.name, ROW).status_code >= 500
    took = time.monotonic() - started
    assert TIMEOUT <= took < TIMEOUT + 1.5
    assert_answers(strict, neighbour)
    # Where it hung: the file, and the function.
    log = until(lambda: (text := strict.log_text()[log_before:]).count("predict_fn") and text)
    assert "inference.py" in log
    assert place in log
    # MMS comes back by itself, and the model with it.
    fresh = until(lambda: set(strict.pids()["isolated"]) - {worker}, 5, "another worker")
    assert len(fresh) == 1
    assert strict.names() == {model.name, neighbour.name}


def test_a_hang_is_over_for_the_next_request(strict, tmp_path, with_code):
    flag = tmp_path / "hang"
    code = (
        "import pathlib, time\n"
        "def predict_fn(data, model):\n"
        f"    if pathlib.Path({str(flag)!r}).exists():\n"
        "        time.sleep(1000)\n"
        "    return [1.0]\n"
    )
    model = strict.add(with_code(code))
    flag.touch()
    assert strict.invoke(model.name, ROW).status_code >= 500
    flag.unlink()
    started = time.monotonic()
    assert strict.invoke(model.name, ROW).status_code == 200
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("code", [HANGS_ON_LOAD, HANGS_ON_IMPORT], ids=["model_fn", "import"])
def test_hangs_on_load(strict, neighbour, with_code, code):
    model = with_code(code)
    log_before = len(strict.log_text())
    status, took = strict.load(model.name, model.path)
    assert status == 500
    assert TIMEOUT <= took < TIMEOUT + 1.5
    assert "inference.py" in strict.log_text()[log_before:]
    assert strict.wait_log(model=model.name, event="load failed")["status"] == 500
    assert strict.get(model.name).status_code == 404
    assert strict.load(model.name, neighbour.path)[0] == 200
    assert_answers(strict, neighbour)


# -- Ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "import os; os._exit(3)",
        "import sys; sys.exit()",
        "raise KeyboardInterrupt",
        "import ctypes; ctypes.string_at(0)",
        "import os, signal; os.kill(0, signal.SIGKILL)",
        "import threading; threading.Thread(target=print, daemon=True).start(); exit(5)",
    ],
)
def test_ends_its_process(strict, neighbour, with_code, statement):
    hosts = strict.pids()["hosts"]
    model = strict.add(with_code(ENDS.format(statement=statement)))
    for _ in range(2):  # the second meets a fresh process
        started = time.monotonic()
        assert strict.invoke(model.name, ROW).status_code >= 500
        assert time.monotonic() - started < 3
        assert_answers(strict, neighbour)
    assert strict.names() == {model.name, neighbour.name}
    assert strict.unload(model.name).status_code == 200

    on_load = with_code(ENDS_ON_LOAD.format(statement=statement))
    assert strict.load(on_load.name, on_load.path)[0] == 500
    assert strict.get(on_load.name).status_code == 404
    assert_answers(strict, neighbour)
    assert strict.pids()["hosts"] == hosts


# -- Memory, children, output --------------------------------------------------------------------


def leak(server: Server, model: Model) -> list[int]:
    """Invoke a model that keeps 20 MB each time until it fails."""
    statuses: list[int] = []
    while set(statuses) <= {200} and len(statuses) < 12:
        statuses.append(server.invoke(model.name, ROW).status_code)
    return statuses


def test_leaks_until_its_limit(strict, neighbour, with_code):
    """A 507, and then a fresh process that begins again."""
    model = strict.add(with_code(LEAKS))
    for _ in range(2):
        statuses = leak(strict, model)
        assert statuses[-1] == 507, statuses
        assert 4 <= len(statuses) <= 8, statuses  # of 150 MB
        assert_answers(strict, neighbour)
        until(lambda: strict.invoke(model.name, ROW).status_code == 200, 5)
    assert strict.names() == {model.name, neighbour.name}


def test_the_request_after_a_507_is_answered(strict, with_code):
    """By the fresh process: it waits for it, and does not meet the one that ends."""
    model = strict.add(with_code(LEAKS))
    assert leak(strict, model)[-1] == 507
    assert strict.invoke(model.name, ROW).status_code == 200


@pytest.fixture
def child_file(tmp_path: Path) -> Iterator[Path]:
    """Where a model's code writes the process id of its child, which is ended at last."""
    file = tmp_path / "pid"
    yield file
    with suppress(psutil.NoSuchProcess):
        psutil.Process(int(file.read_text())).kill()


@pytest.mark.parametrize("how", ["", ", start_new_session=True"], ids=["child", "session"])
def test_a_child_process_is_gone_after_unload(strict, with_code, child_file, how):
    code = STARTS_A_CHILD.format(file=str(child_file)).replace('"1000"]', '"1000"]' + how)
    model = strict.add(with_code(code))
    child = psutil.Process(int(child_file.read_text()))
    assert child.is_running()
    assert strict.unload(model.name).status_code == 200
    until(lambda: not child.is_running(), 3, "the end of the child")


def test_a_child_process_is_gone_after_a_crash(strict, with_code, child_file):
    code = STARTS_A_CHILD.format(file=str(child_file)) + ENDS.format(
        statement="import os; os._exit(3)"
    )
    model = strict.add(with_code(code))
    child = psutil.Process(int(child_file.read_text()))
    assert strict.invoke(model.name, ROW).status_code >= 500
    until(lambda: not child.is_running(), 3, "the end of the child")


def test_prints_a_lot(strict, neighbour, with_code):
    model = strict.add(with_code(PRINTS))
    for _ in range(5):
        assert strict.invoke(model.name, ROW, headers={"accept": "text/csv"}).text.split() == [
            "1.0"
        ]
    assert_answers(strict, neighbour)
    assert strict.pids()["other"] == []


# -- Neighbours ----------------------------------------------------------------------------------

# One process for each, so that what they do is not in the way of the measuring one.
_ENDLESS_CLIENT = """
import http.client
import sys
import time

port, body, *names = sys.argv[1:]
with open(body, "rb") as file:
    content = file.read()
while True:
    for name in names:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
            connection.request(
                "POST", f"/models/{name}/invoke", content,
                {"content-type": "text/csv", "accept": "text/csv"},
            )
            response = connection.getresponse()
            response.read()
            print(response.status, flush=True)
            connection.close()
        except OSError:
            time.sleep(0.01)
"""


@contextmanager
def endless_client(server: Server, body: Path, *names: str) -> Iterator[Callable[[], list[str]]]:
    """Invoke the models one after the other for ever; yields what tells the statuses so far."""
    output = body.with_suffix(".statuses")
    with output.open("wb") as file:
        command = [sys.executable, "-c", _ENDLESS_CLIENT, str(server.port), str(body), *names]
        process = subprocess.Popen(command, stdout=file)
    try:
        yield lambda: output.read_text().split()
    finally:
        process.kill()
        process.wait()


def p99(server: Server, model: Model, count: int = 400) -> float:
    """The 99th percentile of single rows, one after the other, in seconds."""
    times = []
    connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
    for _ in range(count):
        started = time.perf_counter()
        connection.request(
            "POST", f"/models/{model.name}/invoke", ROW, {"content-type": "text/csv"}
        )
        response = connection.getresponse()
        response.read()
        times.append(time.perf_counter() - started)
        assert response.status == 200
    connection.close()
    return float(np.percentile(times, 99))


def assert_undisturbed(
    what: str, most: float, server: Server, model: Model, disturb: Callable[[], object]
) -> None:
    """The p99 of single rows is at most `most` times its quiet value while `disturb` goes on.

    On two CPUs that tests, MMS and other programs share, a p99 of a few hundred is moved by
    anything that runs for a few milliseconds. Such a disturbance passes; one by the neighbour does
    not. So the best of five attempts counts, each with a quiet value of its own.
    """
    p99(server, model)  # warm
    ratios = []
    for _ in range(5):
        quiet = p99(server, model)
        with disturb():
            busy = p99(server, model)
        ratios.append(busy / quiet)
        print(f"{what}: p99 {quiet * 1e3:.2f} ms, {busy * 1e3:.2f} ms: {ratios[-1]:.1f}")  # noqa: T201
        if ratios[-1] <= most:
            return
    raise AssertionError(f"{what}: p99 is {min(ratios):.1f} times its quiet value")


@pytest.mark.slow
def test_neighbours_do_not_notice(strict, neighbour, with_code, tmp_path):
    """All kinds at once: hanging, leaking, crashing, printing."""
    codes = (HANGS, LEAKS, PRINTS, ENDS.format(statement="import os; os._exit(3)"))
    models = [strict.add(with_code(code)) for code in codes]

    @contextmanager
    def disturb() -> Iterator[None]:
        with ExitStack() as stack:
            told = []
            for number, model in enumerate(models):
                body = tmp_path / str(number)
                body.write_bytes(ROW)
                told.append(stack.enter_context(endless_client(strict, body, model.name)))
            until(lambda: all(statuses() for statuses in told[1:]), 10, "answers")
            yield

    assert_undisturbed("misbehaving code", 3, strict, neighbour, disturb)
    assert_answers(strict, neighbour)
    assert len(strict.names()) == len(models) + 1


@pytest.mark.slow
@pytest.mark.parametrize("hosts", [2, 1])
def test_a_large_batch_does_not_hold_up_single_rows(make_server, make_model, tmp_path, hosts):
    server = make_server(MME_HOSTS=str(hosts))
    large, small = server.add(make_model()), server.add(make_model())
    rows = np.random.default_rng(0).uniform(0, 100, (BATCH_ROWS, FEATURES))
    body = tmp_path / "batch"
    np.savetxt(body, rows, "%.2f", ",")
    response = server.invoke(large.name, body.read_bytes(), headers={"accept": "text/csv"})
    assert response.status_code == 200
    assert len(response.text.split()) == BATCH_ROWS

    @contextmanager
    def disturb() -> Iterator[None]:
        with endless_client(server, body, large.name) as statuses:
            until(statuses, 10, "a batch")
            yield
            assert set(statuses()) == {"200"}

    assert_undisturbed(f"batch, {hosts} hosts", 5, server, small, disturb)


def test_a_slow_model_keeps_only_its_own_clients_waiting(strict, neighbour, with_code):
    model = strict.add(
        with_code(
            "import time\ndef predict_fn(data, model):\n    time.sleep(1)\n    return [1.0]\n"
        )
    )
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(strict.invoke(model.name, ROW).status_code))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for _ in range(20):
        assert_answers(strict, neighbour)
    assert len(statuses) < 3  # which take three seconds
    for thread in threads:
        thread.join(20)
    assert statuses == [200] * 3
