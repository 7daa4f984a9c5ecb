"""At the engine's limit of memory: loads end in 507s, and the kernel never ends a process."""

from __future__ import annotations

import functools
import itertools
import json
import random
import subprocess
import sys
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import xgboost as xgb

from mme_training.archives.pack import unpack
from mme_training.houses import FEATURES, make_houses
from support.container import GIB, MODELS, Container, assert_answers
from support.models import Model, ModelStore, csv_of, make_rows, padded, train

pytestmark = pytest.mark.container

ROWS = make_rows(4, seed=3)
LIMITED = {"mem_limit": GIB, "memswap_limit": GIB}
HARDENED = {
    **LIMITED,
    "nano_cpus": 10**9,
    "pids_limit": 4096,
    "read_only": True,
    "tmpfs": {"/tmp": ""},
    "user": "1000",
}


@functools.cache
def large(seed: int) -> xgb.Booster:
    """A booster of 2.1 MB, so that a gibibyte is soon full."""
    return padded(train(seed, trees=800), 2_100_000)


def fill(container: Container, make_model: ModelStore) -> tuple[list[Model], Model]:
    """Load until one is refused; return those that are loaded, and that one."""
    loaded = []
    for number in itertools.count():
        model = make_model.of(large(number % 3))
        status = container.load(model.name).status_code
        if status != 200:
            assert status == 507, container.log_text()[-2000:]
            return loaded, model
        loaded.append(model)
        assert number < 5000
    raise AssertionError


def peak(container: Container) -> int:
    """The most memory that the group has used, page cache included."""
    script = "cat /sys/fs/cgroup/memory.peak /sys/fs/cgroup/memory/memory.max_usage_in_bytes"
    return int(container.run_inside("sh", "-c", f"({script}) 2>/dev/null || true").split()[0])


def assert_nothing_lost(container: Container, loaded: list[Model]) -> None:
    assert container.names() == {model.name for model in loaded}
    for model in loaded:
        assert_answers(container, model, ROWS)
    assert container.oom_kills() == []
    state = container.state
    assert state["Running"]
    assert not state["OOMKilled"]
    assert container.metric("mme_models") == len(loaded)
    assert container.metric("mme_restarts_total") == 0


@pytest.mark.parametrize(
    ("options", "rounds"),
    [
        pytest.param(LIMITED, 20, id="plain"),
        pytest.param(HARDENED, 20, id="hardened"),
        pytest.param(LIMITED, 1000, id="plain-1000", marks=pytest.mark.slow),
        pytest.param(HARDENED, 1000, id="hardened-1000", marks=pytest.mark.slow),
    ],
)
def test_full_and_one_goes_and_one_comes(serve, make_model, options, rounds):
    started = time.monotonic()
    container = serve(**options)
    loaded, refused = fill(container, make_model)
    assert len(loaded) > 50
    filled = time.monotonic() - started
    for number in range(rounds):
        if number % 10 == 0:
            assert container.load(refused.name).status_code == 507
            assert container.get(refused.name).status_code == 404
        gone = loaded.pop(random.Random(number).randrange(len(loaded)))
        assert container.unload(gone.name).status_code == 200
        assert container.load(refused.name).status_code == 200, number
        loaded.append(refused)
        assert_answers(container, refused, ROWS)
        refused = gone
    print(  # noqa: T201
        f"{len(loaded)} models until full in {filled:.0f} s, {rounds} rounds in "
        f"{time.monotonic() - started - filled:.0f} s, peak {peak(container) / 2**20:.0f} MiB"
    )
    assert_nothing_lost(container, loaded)


_EXCHANGE = """
import http.client, json, random, sys
loaded, refused, rounds = json.loads(sys.argv[1])
connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=60)

def ask(method, path, body=None):
    kind = {"content-type": "application/json"}
    connection.request(method, path, body and json.dumps(body), kind)
    answer = connection.getresponse()
    answer.read()
    return answer.status

for number in range(rounds):
    gone = loaded.pop(random.Random(number).randrange(len(loaded)))
    assert ask("DELETE", f"/models/{gone}") == 200, number
    model = {"model_name": refused, "url": f"/opt/ml/models/{refused}/model"}
    assert ask("POST", "/models", model) == 200, number
    loaded.append(refused)
    refused = gone
print(json.dumps(loaded))
"""


@pytest.mark.slow
def test_a_thousand_exchanges_without_a_network(serve, make_model):
    """Asked from inside by one program, or each request would start one."""
    container = serve(**HARDENED, network_mode="none")
    loaded, refused = fill(container, make_model)
    request = [[model.name for model in loaded], refused.name, 1000]
    names = json.loads(container.run_inside("python3", "-c", _EXCHANGE, json.dumps(request)))
    assert container.names() == set(names)
    models = {model.name: model for model in (*loaded, refused)}
    for name in names[::20]:
        assert_answers(container, models[name], ROWS)
    assert container.oom_kills() == []
    assert container.state["Running"]


def test_full_without_a_network(serve, make_model):
    """Asked from inside, which costs memory of its own."""
    container = serve(**LIMITED, network_mode="none")
    loaded, refused = fill(container, make_model)
    container.unload(loaded.pop().name)
    assert container.load(refused.name).status_code == 200
    assert_answers(container, refused, ROWS)
    assert container.oom_kills() == []


# -- Five thousand houses ------------------------------------------------------------------------

CITIES, COPIES, ASKED, CLIENTS = 50, 100, 1000, 4


@pytest.fixture
def cities(tmp_path: Path) -> dict[str, Path]:
    """The unpacked archive of each city, by `mme train many`."""
    mme = Path(sys.executable).with_name("mme")
    settings = ["objective=reg:squarederror", "num_round=25", "early_stopping_rounds=5"]
    houses = [mme, "houses", tmp_path, "--cities", str(CITIES), "--format", "parquet"]
    many = [mme, "train", "many", "--segments", tmp_path / "houses.parquet", "--by", "city"]
    many += ["--label", "PRICE", "--out", tmp_path / "many"]
    many += [word for setting in settings for word in ("--set", setting)]
    for command in (houses, many):
        subprocess.run(command, check=True, capture_output=True, timeout=300)
    found = {}
    for path in sorted((tmp_path / "many/archives").glob("*.tar.gz")):
        city = path.name.removesuffix(".tar.gz")
        found[city] = unpack(path, tmp_path / "unpacked" / city) or tmp_path / "unpacked" / city
    assert len(found) == CITIES
    return found


@pytest.mark.slow
def test_five_thousand_models_in_four_gibibytes(serve, tmp_path, cities):
    """As many as an instance of two CPUs and 4 GiB is asked to hold; every file is its own."""
    models = tmp_path / "models"
    city_of = {}
    for city, directory in cities.items():
        for number in range(COPIES):
            name = f"{city}-{number:03}"
            (models / name / "model").mkdir(parents=True)
            for file in directory.iterdir():
                (models / name / "model" / file.name).write_bytes(file.read_bytes())
            city_of[name] = city
    container = serve(models=models, mem_limit=4 * GIB, memswap_limit=4 * GIB, nano_cpus=2 * 10**9)
    before = table(container)

    started = time.monotonic()
    local = threading.local()

    def load(name: str) -> tuple[int, float]:
        if not hasattr(local, "client"):
            local.client = container.new_client()
        begun = time.monotonic()
        body = {"model_name": name, "url": f"{MODELS}/{name}/model"}
        status = local.client.post("/models", json=body).status_code
        return status, time.monotonic() - begun

    with ThreadPoolExecutor(CLIENTS) as threads:
        loads = list(threads.map(load, city_of))
    seconds = time.monotonic() - started
    assert {status for status, _ in loads} == {200}
    assert container.names() == set(city_of)

    boosters = {city: xgb.Booster(model_file=model_file(path)) for city, path in cities.items()}
    rows = make_houses("Elsewhere", ASKED)[list(FEATURES)].to_numpy(np.float32)
    begun = time.monotonic()
    for number, name in enumerate(random.Random(5).sample(sorted(city_of), ASKED)):
        row = rows[number : number + 1]
        answer = container.invoke(name, csv_of(row), accept="text/csv")
        assert answer.status_code == 200, answer.text
        expected = boosters[city_of[name]].inplace_predict(row)[0]
        assert np.float32(answer.text) == expected, name
    asked = time.monotonic() - begun

    times = sorted(time_ for _, time_ in loads)
    print(  # noqa: T201
        f"{len(city_of)} models loaded by {CLIENTS} clients in {seconds:.0f} s, one in "
        f"{times[len(times) // 2] * 1e3:.0f} ms (median), {times[-1]:.2f} s at most; "
        f"{ASKED} of them answered right in {asked:.1f} s\n\n"
        f"Without a model:\n{before}\n\nWith {len(city_of)}:\n{table(container)}"
    )
    assert container.oom_kills() == []
    assert not container.state["OOMKilled"]
    assert container.metric("mme_models") == len(city_of)
    assert container.metric("mme_restarts_total") == 0
    assert container.stop(within=10) == 0


def model_file(directory: Path) -> Path:
    return next(file for file in directory.iterdir() if file.name.endswith((".ubj", "model")))


def table(container: Container) -> str:
    """Memory by process, in MiB, and what the control group counts."""
    groups = defaultdict(list)
    for process in container.processes(pss=True):
        groups[process.role].append(process)
    lines = ["| processes | number | threads | PSS MiB |", "|---|---|---|---|"]
    for role, members in groups.items():
        pss = sum(each.pss for each in members) / 2**20
        count = sum(each.threads for each in members)
        lines.append(f"| {role} | {len(members)} | {count} | {pss:,.0f} |")
    everything = [each for members in groups.values() for each in members]
    total = sum(each.pss for each in everything) / 2**20
    lines.append(
        f"| all | {len(everything)} | {sum(e.threads for e in everything)} | {total:,.0f} |"
    )
    group = container.docker.stats(stream=False)["memory_stats"]
    stats = group["stats"]
    used = group["usage"] - stats.get("total_inactive_file", stats.get("inactive_file", 0))
    lines.append(
        f"\nControl group: {used / 2**20:,.0f} MiB without inactive files, "
        f"{group['usage'] / 2**20:,.0f} with; budget charged "
        f"{container.metric('mme_memory_used_bytes') / 2**20:,.0f}, measured "
        f"{container.metric('mme_memory_measured_bytes') / 2**20:,.0f}"
    )
    return "\n".join(lines)
