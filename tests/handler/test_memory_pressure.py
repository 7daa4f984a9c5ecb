"""At the memory limit: loads are refused with 507, and nothing else goes wrong."""

from __future__ import annotations

import functools
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import xgboost as xgb

from support.models import Model, ModelStore, csv_of, make_rows, padded, train
from support.serving import Server, until

ROW = csv_of(make_rows(1, seed=5))
ROOM_FOR = 120  # what the server takes by itself differs by some megabytes from start to start
CLIENTS = 8
LOADS = 2000
PROBE_BUDGET = 600 << 20  # Java's heap is as small as it gets, and with it the base

GROUPS = Path("/sys/fs/cgroup/memory")
"""Where control groups (v1) of memory are."""
_ELSEWHERE = (
    f"no control group can be made at {GROUPS}: run the tests as root where version 1 is mounted, "
    "or make test-container, which has a limit of the kernel's in Docker with either version"
)


@functools.cache
def small(seed: int) -> xgb.Booster:
    """Boosters of one size: when one goes there is just the room for another."""
    return padded(train(seed), 70_000)


def charge_of_one(server: Server, model: Model) -> float:
    """What a model is charged with: loaded, looked at, unloaded."""
    server.add(model)
    charged = server.metric("mme_model_memory_bytes", model=model.name)
    server.unload(model.name)
    return charged


@pytest.fixture(scope="module")
def budget(tmp_path_factory: pytest.TempPathFactory, make_model: ModelStore) -> str:
    """A budget that holds the server itself and `ROOM_FOR` models."""
    env = {"MME_MEMORY_BUDGET": str(PROBE_BUDGET)}
    with Server(tmp_path_factory.mktemp("probe"), env=env) as server:
        base = server.metric("mme_memory_used_bytes")
        room = ROOM_FOR * charge_of_one(server, make_model.of(small(0)))
    assert base + room < PROBE_BUDGET
    return str(int(base + room))


@pytest.fixture
def tight(make_server: Callable[..., Server], budget: str) -> Server:
    return make_server(MME_MEMORY_BUDGET=budget)


def fill(server: Server, make_model: ModelStore, at_most: int = 4 * ROOM_FOR) -> list[Model]:
    """Load models until one is refused; return those that are loaded, and the refused one last."""
    models = []
    for number in range(at_most):
        models.append(make_model.of(small(number % 3)))
        status, _ = server.load(models[-1].name, models[-1].path)
        if status != 200:
            assert status == 507
            return models
    raise AssertionError(f"{at_most} models and no end")


def assert_all_answer(server: Server, models: list[Model]) -> None:
    for model in models:
        response = server.invoke(model.name, ROW, headers={"accept": "text/csv"})
        assert response.status_code == 200
        expected = model.predict(make_rows(1, seed=5))[0]
        assert float(response.text) == pytest.approx(expected, rel=1e-5)


def test_until_it_is_full_and_back(tight, make_model):
    room = tight.metric("mme_memory_budget_bytes") - tight.metric("mme_memory_used_bytes")
    *loaded, refused = fill(tight, make_model)
    charged = tight.metric("mme_model_memory_bytes", model=loaded[0].name)
    assert len(loaded) == pytest.approx(room / charged, rel=0.1)
    assert_all_answer(tight, loaded)
    assert tight.metric("mme_memory_used_bytes") <= tight.metric("mme_memory_budget_bytes")
    line = tight.wait_log(model=refused.name, event="load failed")
    assert line["status"] == 507
    assert "unload another model first" in line["reason"]

    # The same load again is refused again, and its name is never taken.
    for _ in range(20):
        assert tight.load(refused.name, refused.path)[0] == 507
        assert tight.get(refused.name).status_code == 404
    assert tight.names() == {model.name for model in loaded}

    # One goes and one comes, as often as one likes.
    for number in range(10):
        gone = loaded.pop(number % len(loaded))
        assert tight.unload(gone.name).status_code == 200
        status, _ = tight.load(refused.name, refused.path)
        assert status == 200, number
        loaded.append(refused)
        assert tight.load(gone.name, gone.path)[0] == 507
        refused = gone
    assert_all_answer(tight, loaded)

    # All go, and as many come, but for what was learnt of their size meanwhile.
    tight.unload_all()
    until(lambda: tight.metric("mme_models") == 0)
    *again, refused = fill(tight, make_model)
    assert len(again) == pytest.approx(len(loaded), rel=0.1)
    assert_all_answer(tight, again)
    assert tight.load(refused.name, refused.path)[0] == 507


def test_the_others_answer_throughout(tight, make_model):
    *loaded, refused = fill(tight, make_model)
    stop = threading.Event()
    statuses: Counter[int] = Counter()

    def invoke() -> None:
        choose = random.Random(0).choice
        with httpx.Client(base_url=tight.client.base_url, timeout=30) as client:
            while not stop.is_set():
                url = f"/models/{choose(loaded).name}/invoke"
                headers = {"content-type": "text/csv"}
                statuses[client.post(url, content=ROW, headers=headers).status_code] += 1

    thread = threading.Thread(target=invoke)
    thread.start()
    for _ in range(20):
        assert tight.load(refused.name, refused.path)[0] == 507
    until(lambda: statuses[200] > 100)
    stop.set()
    thread.join(30)
    assert set(statuses) == {200}


def test_a_model_that_never_fits(tight, make_model):
    """It is refused however much is unloaded; a small one loads."""
    huge = make_model("none", files={"model.ubj": b"{L" + bytes(300 << 20)})
    for _ in range(3):
        assert tight.load(huge.name, huge.path)[0] == 507
        assert tight.get(huge.name).status_code == 404
    huge.file.unlink()
    assert tight.load("small", make_model().path)[0] == 200


def test_models_with_code_count_too(tight, make_model):
    """A process of its own costs more: fewer fit, and what they leave is room for others."""
    files = {"code/inference.py": "def predict_fn(data, model):\n    return [1.0]\n"}
    loaded = []
    while True:
        model = make_model(files=files)
        status, _ = tight.load(model.name, model.path)
        if status != 200:
            break
        loaded.append(model)
    assert status == 507
    assert 1 <= len(loaded) < ROOM_FOR // 4
    tight.unload(loaded.pop().name)
    until(lambda: len(tight.pids()["isolated"]) == len(loaded))
    assert tight.load(model.name, model.path)[0] == 200


# -- Many clients at the limit -------------------------------------------------------------------


@dataclass
class Client:
    """Loads models at random; after a 507 unloads one of its own. No other uses its names."""

    server: Server
    models: list[Model]
    loads: int
    seed: int
    loaded: list[Model] = field(default_factory=list)
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    slowest: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("POST", "DELETE"), 0))

    def run(self) -> None:
        choose = random.Random(self.seed)
        url = self.server.client.base_url
        with httpx.Client(base_url=url, timeout=120) as self._client:
            for _ in range(self.loads):
                absent = [model for model in self.models if model not in self.loaded]
                if absent:
                    model = choose.choice(absent)
                    parameters = {"url": str(model.path), "model_name": model.name}
                    if self._send("POST", "/models", parameters) == 200:
                        self.loaded.append(model)
                        continue
                if self.loaded:
                    gone = self.loaded.pop(choose.randrange(len(self.loaded)))
                    self._send("DELETE", f"/models/{gone.name}")

    def _send(self, method: str, url: str, body: dict[str, str] | None = None) -> int:
        started = time.monotonic()
        status = self._client.request(method, url, json=body).status_code
        self.slowest[method] = max(self.slowest[method], time.monotonic() - started)
        self.statuses[method, status] += 1
        return status


@pytest.mark.slow
def test_eight_clients_at_the_limit(tight, make_model):
    each = ROOM_FOR * 2 // CLIENTS
    clients = [
        Client(tight, [make_model(seed=n % 3) for n in range(each)], LOADS // CLIENTS, number)
        for number in range(CLIENTS)
    ]
    threads = [threading.Thread(target=client.run) for client in clients]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    seconds = time.monotonic() - started
    statuses: Counter[tuple[str, int]] = Counter()
    for client in clients:
        statuses.update(client.statuses)
    slowest = {method: max(c.slowest[method] for c in clients) for method in ("POST", "DELETE")}
    print(f"{dict(statuses)}, slowest {slowest}, {seconds:.0f} s")  # noqa: T201
    assert set(statuses) == {("POST", 200), ("POST", 507), ("DELETE", 200)}
    assert statuses["POST", 507] > LOADS // 10
    assert statuses["POST", 200] > LOADS // 10
    # Not one model is lost, and not one is left over.
    loaded = [model for client in clients for model in client.loaded]
    assert tight.names() == {model.name for model in loaded}
    assert_all_answer(tight, loaded)
    until(lambda: len(tight.pids()["launchers"]) == len(loaded), what="one launcher for each")
    assert tight.metric("mme_models") == len(loaded)
    assert max(slowest.values()) < 2


# -- A real limit --------------------------------------------------------------------------------


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group (v1) with a limit that the kernel enforces."""
    path = GROUPS / f"mme-test-{os.getpid()}"
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"{_ELSEWHERE}: {error}")
    try:
        yield path
    finally:
        until(lambda: not (path / "cgroup.procs").read_text(), 10, "an empty group")
        path.rmdir()


def test_within_a_control_group(group, make_model, tmp_path):
    """Loads until 507, traffic, more loads: the kernel never has to end a process."""
    limit = 420 << 20
    try:
        (group / "memory.limit_in_bytes").write_text(str(limit))
    except OSError as error:
        pytest.skip(f"{_ELSEWHERE}: {error}")
    # A process is born into its parent's group.
    own = next(
        line.split(":", 2)[2]
        for line in Path("/proc/self/cgroup").read_text().splitlines()
        if "memory" in line.split(":")[1].split(",")
    )
    try:
        (group / "cgroup.procs").write_text(str(os.getpid()))
        server = Server(tmp_path / "grouped", ready=False)
    finally:
        (GROUPS / own.lstrip("/") / "cgroup.procs").write_text(str(os.getpid()))
    with server:
        server.wait_ready()
        assert server.metric("mme_memory_budget_bytes") == limit
        family = {role: server.pids()[role] for role in ("server", "java", "zygote", "hosts")}
        loaded = [server.add(make_model()) for _ in range(3)]
        # Larger ones: what is charged must hold what is really taken.
        ballast = make_model.booster(0).save_raw("ubj")
        for _ in range(100):
            model = make_model("none", files={"model.ubj": ballast})
            if server.load(model.name, model.path)[0] != 200:
                break
            loaded.append(model)
        for model in loaded:
            assert server.invoke(model.name, ROW).status_code == 200
        assert {role: server.pids()[role] for role in family} == family
    with suppress(OSError):
        assert "oom_kill 0" in (group / "memory.oom_control").read_text()
