"""Models that come and go for a long time leave nothing behind."""

from __future__ import annotations

import pytest

from support.models import csv_of, make_rows
from support.serving import Server, until

BODY = csv_of(make_rows(2, seed=2))
OWN_CODE = "def output_fn(prediction, accept): return str(len(prediction))\n"

# MMS's threads come from a pool that keeps idle ones for a minute, and netty opens descriptors
# with the threads it starts; a host's pool grows to eight threads as it happens to need them. So
# these may differ by a few from moment to moment. One that is lost with each load or unload would
# add up to ten times as much.
SLACK = {"java threads": 12, "java descriptors": 12, "hosts threads": 14, "hosts descriptors": 2}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server of its own, so that nothing else comes and goes meanwhile."""
    with Server(tmp_path_factory.mktemp("churn")) as server:
        yield server


def churn(server, models, rounds):
    """Load all, ask each once, unload all; in `rounds` rounds."""
    for _ in range(rounds):
        for model in models:
            assert server.load(model.name, model.path)[0] == 200
        for model in models:
            assert server.invoke(model.name, BODY).status_code == 200
        for model in models:
            assert server.unload(model.name).status_code == 200


def assert_nothing_left(server, before, memory):
    def excess():
        now = server.census()
        return {
            what: (before[what], count)
            for what, count in now.items()
            if count > before[what] + SLACK.get(what, 0)
        }

    until(lambda: not excess(), 10, "as many processes, threads, descriptors and files as before")
    until(lambda: server.pss() < memory * 1.1, 10, f"{memory / 1e6:.0f} MB again")
    assert server.names() == set()
    until(lambda: server.metric("mme_models") == 0)
    assert server.metric("mme_model_memory_bytes") == 0
    assert server.metric("mme_restarts_total") == 0


def settle(server):
    """Wait until the unloaded models are gone; return what there is then."""
    until(lambda: server.metric("mme_models") == 0)
    until(lambda: not server.pids()["launchers"] and not server.pids()["isolated"])
    until(lambda: not list(server.run_directory.glob("*-std*")), 10, "no output files")
    return server.census(), server.pss()


def test_plain_models(server, make_model):
    models = [make_model(("ubj", "json")[i % 2], seed=i % 2) for i in range(10)]
    churn(server, models, 1)
    before, memory = settle(server)
    used = server.metric("mme_memory_used_bytes")
    churn(server, models, 20)
    assert_nothing_left(server, before, memory)
    assert server.metric("mme_memory_used_bytes") == used
    assert server.metric("mme_loads_total", status="200") == 210


def test_models_with_code(server, make_model):
    models = [make_model(files={"code/inference.py": OWN_CODE}) for _ in range(10)]
    churn(server, models, 1)
    before, memory = settle(server)
    churn(server, models, 3)
    assert_nothing_left(server, before, memory)
