"""Processes end, by a signal or on purpose, and no model is lost by it."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest
import xgboost as xgb

from support.serving import Model, ModelStore, Server, csv_of, make_rows, train, until

ROW = csv_of(make_rows(1, seed=5))
CLIENTS = 4
PLAIN, WITH_CODE = 92, 8

CODE = "def predict_fn(data, model):\n    return [42.0] * len(data)\n"
SLOW_CODE = """
import pathlib
import time

def predict_fn(data, model):
    pathlib.Path({mark!r}).touch()
    time.sleep(1)
    return [1.0] * len(data)
"""
CRASHING_CODE = """
import os
import signal

def model_fn(model_dir):
    os.kill(os.getpid(), signal.SIGSEGV)
"""


@dataclass
class Traffic:
    """Clients that invoke the models in random order, one request at a time each."""

    server: Server
    names: list[str]
    statuses: list[int] = field(default_factory=list)
    slowest: float = 0.0
    ends_at_error: bool = False

    def __enter__(self) -> Traffic:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(CLIENTS)]
        for thread in self._threads:
            thread.start()
        until(lambda: len(self.statuses) > 5 * CLIENTS, what="answers")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self, number: int) -> None:
        choose = random.Random(number).choice
        base_url = self.server.client.base_url
        with httpx.Client(base_url=base_url, timeout=30) as client:
            while not self._stop.is_set():
                started = time.monotonic()
                status = _invoke(client, choose(self.names))
                self.slowest = max(self.slowest, time.monotonic() - started)
                self.statuses.append(status)
                if status != 200 and self.ends_at_error:
                    return

    @property
    def errors(self) -> list[int]:
        """What was answered besides 200; 0 is a connection that ended."""
        return [status for status in self.statuses if status != 200]


def _invoke(client: httpx.Client, name: str) -> int:
    headers = {"content-type": "text/csv"}
    try:
        return client.post(f"/models/{name}/invoke", content=ROW, headers=headers).status_code
    except httpx.TransportError:
        return 0


@dataclass
class Crowd:
    """A server with a hundred models."""

    server: Server
    plain: list[Model]
    with_code: list[Model]

    @property
    def names(self) -> list[str]:
        return [model.name for model in (*self.plain, *self.with_code)]

    def all_answer_within(self, seconds: float, since: float) -> None:
        """Every model answers, each at its first request that is sent after `since`."""
        for model in (*self.plain, *self.with_code):
            response = self.server.invoke(model.name, ROW)
            assert response.status_code == 200, (response.text, time.monotonic() - since)
        took = time.monotonic() - since
        print(f"all answered {took:.2f} s after the kill")  # noqa: T201
        assert took < seconds

    def loads(self) -> int:
        """Load requests answered until now, by whomever they were sent."""
        return int(self.server.metric("mme_loads_total"))


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory, make_model: ModelStore) -> Iterator[Crowd]:
    with Server(tmp_path_factory.mktemp("crowd"), env={"MME_HOSTS": "2"}) as server:
        plain = [server.add(make_model(seed=n % 3)) for n in range(PLAIN)]
        files = {"code/inference.py": CODE}
        with_code = [server.add(make_model(files=files)) for _ in range(WITH_CODE)]
        yield Crowd(server, plain, with_code)


def processes(server: Server) -> list[psutil.Process]:
    """The tree as it is now."""
    found = []
    for pid in (pid for pids in server.pids().values() for pid in pids):
        with suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(pid))
    return found


def alive(family: list[psutil.Process]) -> list[str]:
    """Those that still run; an orphan that has ended and that nobody collects does not."""
    running = []
    for process in family:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                running.append(" ".join(process.cmdline())[:100])
    return running


# -- A process of the tree is killed -------------------------------------------------------------


@pytest.mark.parametrize("role", ["hosts", "zygote", "isolated"])
def test_killed_under_traffic(crowd, role):
    """All answer again within 3 s.

    Each client has one request in flight at the kill, so with C clients at most C requests fail;
    whatever comes later waits inside MMS for the model to be back.
    """
    server, kind = crowd.server, {"hosts": "host"}.get(role, role)
    crowd.all_answer_within(30, time.monotonic())
    restarts = server.metric("mme_restarts_total", kind=kind)
    victim = server.pids()[role][0]
    with Traffic(server, crowd.names) as traffic:
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        traffic_before = len(traffic.statuses)
        with httpx.Client(base_url=server.client.base_url, timeout=30) as client:
            answers = [_invoke(client, name) for name in crowd.names]
        seconds = time.monotonic() - killed
        until(lambda: len(traffic.statuses) > traffic_before + 5 * CLIENTS, what="traffic")
    failed = traffic.errors + [status for status in answers if status != 200]
    print(f"{role}: {seconds:.2f} s, slowest {traffic.slowest:.2f} s, failed {failed}")  # noqa: T201
    assert seconds < 3
    assert traffic.slowest < 3
    assert len(failed) <= CLIENTS + 1, failed  # this test's own requests are one client more
    assert server.metric("mme_restarts_total", kind=kind) == restarts + 1
    until(lambda: all(server.pids()[r] for r in ("hosts", "zygote", "isolated")), what="all roles")
    assert len(server.pids()["hosts"]) == 2
    assert len(server.pids()["isolated"]) == WITH_CODE
    assert victim not in server.pids()[role]
    assert server.names() == set(crowd.names)
    crowd.all_answer_within(30, time.monotonic())


def test_all_hosts_are_killed_at_once(crowd):
    server = crowd.server
    for pid in server.pids()["hosts"]:
        os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    # The first request of a model may meet a connection that MMS does not yet know to be lost.
    until(lambda: _invoke(server.client, crowd.names[0]) == 200, 3)
    crowd.all_answer_within(3, killed)


def test_a_model_with_code_is_loaded_without_a_zygote(crowd, make_model):
    server = crowd.server
    (zygote,) = server.pids()["zygote"]
    os.kill(zygote, signal.SIGKILL)
    model = make_model(files={"code/inference.py": CODE})
    status, seconds = server.load(model.name, model.path)
    assert status == 200
    assert seconds < 5
    assert server.invoke(model.name, ROW).status_code == 200
    server.unload(model.name)


def test_killed_again_and_again(crowd):
    """Nothing is used up by it."""
    server = crowd.server
    for role in ("hosts", "zygote", "isolated") * 2:
        os.kill(until(lambda role=role: server.pids()[role])[0], signal.SIGKILL)
        name = crowd.names[-1]
        until(lambda name=name: _invoke(server.client, name) == 200, 5)
        until(lambda: len(server.pids()["zygote"]) == 1 and len(server.pids()["hosts"]) == 2, 5)
    for name in crowd.names:
        until(lambda name=name: _invoke(server.client, name) == 200, 5)
    assert server.names() == set(crowd.names)


# -- A load takes its process down ---------------------------------------------------------------


def damaged(model: Model) -> Model:
    """Point the first node of the first tree to a place far outside of its arrays.

    XGBoost 3.2 loads such a file, follows the number and meets a page that is not there.
    """
    tree = json.loads(model.booster.save_raw("json"))
    tree["learner"]["gradient_booster"]["model"]["trees"][0]["left_children"][0] = 2**30
    xgb_file = model.path / "model.json"
    xgb_file.write_text(json.dumps(tree))
    return model


def assert_refused(server: Server, model: Model, good: Model) -> None:
    """The load fails soon, and its name is free for another."""
    started = time.monotonic()
    status, _ = server.load(model.name, model.path)
    assert time.monotonic() - started < 5
    assert status == 500
    # MMS keeps the reason to itself, so the log has it.
    assert "SIGSEGV" in server.wait_log(model=model.name, event="load failed")["reason"]
    assert server.get(model.name).status_code == 404
    assert server.load(model.name, good.path)[0] == 200
    assert server.invoke(model.name, ROW).status_code == 200
    assert server.unload(model.name).status_code == 200


def test_code_that_crashes_while_it_is_loaded(crowd, make_model):
    server = crowd.server
    model = make_model(files={"code/inference.py": CRASHING_CODE})
    with Traffic(server, crowd.names) as traffic:
        assert_refused(server, model, crowd.plain[0])
    assert traffic.errors == []


def test_a_plain_file_that_crashes_while_it_is_loaded(crowd, make_model):
    """It takes a host down once; then its digest is known and it meets no host any more."""
    server = crowd.server
    model = damaged(make_model("json"))
    restarts = server.metric("mme_restarts_total", kind="host")
    with Traffic(server, crowd.names) as traffic:
        assert_refused(server, model, crowd.plain[0])
        # The error of a request in flight at the crash may come after the answer to the load.
        until(lambda: server.metric("mme_restarts_total", kind="host") == restarts + 1, 3)
    assert len(traffic.errors) <= CLIENTS, traffic.errors
    crowd.all_answer_within(30, time.monotonic())
    hosts = set(server.pids()["hosts"])
    again = damaged(make_model("json"))
    with Traffic(server, crowd.names) as traffic:
        assert_refused(server, again, crowd.plain[0])
    assert set(server.pids()["hosts"]) == hosts
    assert traffic.errors == []


def test_a_file_that_claims_more_than_memory_holds(make_server, make_model):
    """One changed byte makes an array 2**31 long; libxgboost takes the memory and fills it."""
    server = make_server(MME_HOSTS="1", MME_MODEL_TIMEOUT="2")
    content = train(trees=2).save_raw("ubj")
    length = content.index(b"categories_segments[$L#L") + len(b"categories_segments[$L#L")
    content[length + 4] = 0x7F
    good, bad = server.add(make_model()), make_model("none", files={"model.ubj": bytes(content)})
    answer: list[int] = []

    def load() -> None:
        with suppress(httpx.TransportError):
            answer.append(server.load(bad.name, bad.path, timeout=15)[0])

    thread = threading.Thread(target=load)
    thread.start()
    try:
        until(lambda: answer or server.pss() > 1 << 30, 5, "an answer")
        assert answer, f"no answer yet, and the server takes {server.pss() >> 20} MB"
        assert 400 <= answer[0] < 600
        assert server.get(bad.name).status_code == 404
        assert server.invoke(good.name, ROW).status_code == 200
    finally:
        server.kill(signal.SIGKILL)
        thread.join(20)


@pytest.fixture(scope="module")
def large_file(tmp_path_factory: pytest.TempPathFactory, make_model: ModelStore) -> bytes:
    """A model whose load takes a while: 3,000 trees as JSON."""
    document = json.loads(make_model.booster(0).save_raw("json"))
    learner = document["learner"]["gradient_booster"]["model"]
    trees = learner["trees"]
    learner["trees"] = [{**trees[n % len(trees)], "id": n} for n in range(3000)]
    learner["tree_info"] = [0] * 3000
    learner["iteration_indptr"] = list(range(3001))
    learner["gbtree_model_param"]["num_trees"] = "3000"
    content = json.dumps(document).encode()
    assert xgb.Booster(model_file=bytearray(content)).num_boosted_rounds() == 3000
    return content


def load_and_end_the_host(server: Server, model: Model, number: signal.Signals) -> int:
    """Load a model, and send a signal to the only host while it does; return the answer."""
    answer: list[int] = []
    thread = threading.Thread(target=lambda: answer.append(server.load(model.name, model.path)[0]))
    (host,) = server.pids()["hosts"]
    before = psutil.Process(host).memory_info().rss
    thread.start()
    until(lambda: psutil.Process(host).memory_info().rss > before + (4 << 20), what="the load")
    os.kill(host, number)
    thread.join(20)
    (status,) = answer
    return status


def test_a_host_is_ended_while_it_loads_a_good_model(make_server, make_model, large_file):
    """The load succeeds all the same, in a process of its own."""
    server = make_server(MME_HOSTS="1")
    good, large = server.add(make_model()), make_model("none", files={"model.json": large_file})
    assert load_and_end_the_host(server, large, signal.SIGSEGV) == 200
    assert server.invoke(large.name, ROW).status_code == 200
    assert len(server.pids()["isolated"]) == 1
    until(lambda: _invoke(server.client, good.name) == 200, 3)
    assert "SIGSEGV" in server.wait_log(component="workers.pool", models=1)["event"]


def test_a_host_is_killed_while_it_loads(make_server, make_model, large_file):
    """As the kernel does for want of memory: 507, and no process of its own that takes more."""
    server = make_server(MME_HOSTS="1")
    good, large = server.add(make_model()), make_model("none", files={"model.json": large_file})
    assert load_and_end_the_host(server, large, signal.SIGKILL) == 507
    assert "killed" in server.wait_log(event="load failed")["reason"]
    assert server.get(large.name).status_code == 404
    until(lambda: _invoke(server.client, good.name) == 200, 3)
    assert server.pids()["isolated"] == []
    # It may have been the file: the next load is not in a host, and clears it.
    assert server.load(large.name, large.path)[0] == 200
    assert len(server.pids()["isolated"]) == 1
    server.unload(large.name)
    until(lambda: not server.pids()["isolated"])
    assert server.load(large.name, large.path)[0] == 200
    assert server.pids()["isolated"] == []


def test_a_process_of_its_own_after_a_crash_is_admitted_too(make_server, make_model, large_file):
    """It takes more than a place in a host: where there is no room for that, 507."""
    # Below 384 MiB, Java has the same heap whatever the budget, and the server takes the same.
    server = make_server(MME_HOSTS="1", MME_MEMORY_BUDGET="383m")
    large = make_model("none", files={"model.json": large_file})
    used = server.metric("mme_memory_used_bytes")
    server.add(large)
    needed = server.metric("mme_memory_used_bytes") - used
    server.stop()

    limit = int(used + needed + 4e6)
    assert limit < 384 << 20
    server = make_server(MME_HOSTS="1", MME_MEMORY_BUDGET=str(limit))
    assert load_and_end_the_host(server, large, signal.SIGSEGV) == 507
    assert server.pids()["isolated"] == []


def test_a_host_does_not_come_back_from_a_load(make_server, make_model):
    """A host that stands still is replaced at the timeout, and the load succeeds without it."""
    server = make_server(MME_HOSTS="1", MME_MODEL_TIMEOUT="2")
    first, second = server.add(make_model()), make_model(seed=1)
    (host,) = server.pids()["hosts"]
    os.kill(host, signal.SIGSTOP)
    status, seconds = server.load(second.name, second.path)
    assert status == 200
    assert 2 < seconds < 5
    until(lambda: _invoke(server.client, first.name) == 200, 3)
    assert server.invoke(second.name, ROW).status_code == 200
    assert server.pids()["hosts"] != [host]


def test_a_good_model_beside_one_that_crashes(make_server, make_model, large_file):
    """Loaded by the same host at the moment of the crash, it is under suspicion, and cleared."""
    server = make_server(MME_HOSTS="1")
    large = make_model("none", files={"model.json": large_file})
    bad = damaged(make_model("json"))
    answer: list[int] = []
    thread = threading.Thread(target=lambda: answer.append(server.load(large.name, large.path)[0]))
    (host,) = server.pids()["hosts"]
    before = psutil.Process(host).memory_info().rss
    thread.start()
    until(lambda: psutil.Process(host).memory_info().rss > before + (4 << 20), what="the load")
    assert server.load(bad.name, bad.path)[0] == 500
    thread.join(20)
    assert answer == [200]
    assert server.invoke(large.name, ROW).status_code == 200
    server.unload(large.name)
    until(lambda: not server.pids()["isolated"])
    assert server.load(large.name, large.path)[0] == 200
    assert server.pids()["isolated"] == []  # cleared: a host serves it


# -- The whole server ends -----------------------------------------------------------------------


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
