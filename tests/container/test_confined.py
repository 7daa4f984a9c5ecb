"""It serves as whom, and in what confinement, it is told to run."""

from __future__ import annotations

import pytest

from support.container import GIB, assert_answers
from support.models import csv_of, make_rows

pytestmark = pytest.mark.container

ROWS = make_rows(10, seed=8)
CODE = "def output_fn(prediction, accept): return str(len(prediction))\n"
READ_ONLY = {"read_only": True, "tmpfs": {"/tmp": ""}}
CONFINEMENTS = {
    "user": {"user": "1000"},
    "user and group": {"user": "1000:1000"},
    "read-only": READ_ONLY,
    "no network": {"network_mode": "none"},
    "one CPU": {"nano_cpus": 10**9},
    "half a CPU": {"nano_cpus": 5 * 10**8},
    "process ids": {"pids_limit": 4096},
    "no capabilities": {"cap_drop": ["ALL"], "security_opt": ["no-new-privileges"]},
    "host's shared memory": {"shm_size": 1 << 20},
    "all": {
        "user": "1000",
        **READ_ONLY,
        "network_mode": "none",
        "nano_cpus": 10**9,
        "pids_limit": 4096,
        "mem_limit": GIB,
        "cap_drop": ["ALL"],
    },
}


@pytest.mark.parametrize("name", CONFINEMENTS)
def test_it_serves(serve, make_model, name):
    container = serve(**CONFINEMENTS[name])
    models = [container.add(make_model(seed=seed)) for seed in (0, 1)]
    own = container.add(make_model(files={"code/inference.py": CODE}))
    assert container.names() == {model.name for model in (*models, own)}
    for model in models:
        assert_answers(container, model, ROWS)
    assert container.invoke(own.name, csv_of(ROWS)).text == "10"
    for model in (*models, own):
        assert container.unload(model.name).status_code == 200
    assert container.stop() == 0


def test_it_runs_as_the_user_it_is_given(serve):
    container = serve(user="1000")
    said = container.run_inside("sh", "-c", "id -u; cat /proc/1/status | grep ^Uid")
    assert said.split() == ["1000", "Uid:", *["1000"] * 4]


def test_at_the_limit_of_processes_loads_are_refused(serve, make_model):
    """As with memory: 507 in time, and room for another when one has gone."""
    container = serve(pids_limit=256)
    loaded = []
    for number in range(100):
        model = make_model(seed=number % 2)
        status = container.load(model.name).status_code
        if status != 200:
            break
        loaded.append(model)
    assert status == 507
    assert len(loaded) > 20
    for _ in range(20):
        assert container.load(model.name).status_code == 507
        gone = loaded.pop(0)
        assert container.unload(gone.name).status_code == 200
        assert container.load(model.name).status_code == 200
        loaded.append(model)
        model = gone
    assert container.names() == {each.name for each in loaded}
    for each in loaded:
        assert_answers(container, each, ROWS)
    reasons = {line["reason"] for line in container.logs(event="load failed")}
    assert all("processes and threads" in reason for reason in reasons)
