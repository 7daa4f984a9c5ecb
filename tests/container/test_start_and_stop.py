"""How a container comes up, tells of its health, recovers, and goes down."""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter
from http.client import HTTPConnection

import httpx
import pytest

from support.container import assert_answers
from support.models import csv_of, make_rows
from support.serving import until

pytestmark = pytest.mark.container

ROWS = make_rows(20, seed=4)


def test_cold_start_without_a_model(run):
    started = time.monotonic()
    container = run("serve", environment={"SAGEMAKER_MULTI_MODEL": "true"})
    until(container.healthy, 60, "/ping and /models with 200")
    seconds = time.monotonic() - started
    print(f"docker run to /ping and /models with 200: {seconds:.1f} s")  # noqa: T201
    assert seconds < 30
    assert container.wait_ready().names() == set()
    assert container.log_text(stderr=False).startswith("mme ready on port 8080: models below /, ")


def test_a_new_connection_is_answered_at_once(server, make_model):
    server.add(make_model())
    seconds = []
    for _ in range(20):
        started = time.monotonic()
        # SageMaker gives a ping two seconds.
        connection = HTTPConnection("127.0.0.1", server.published(8080), timeout=2)
        connection.request("GET", "/ping")
        assert connection.getresponse().status == 200
        connection.close()
        seconds.append(time.monotonic() - started)
    print(f"connect and ping: {statistics.median(seconds) * 1e3:.0f} ms")  # noqa: T201
    assert statistics.median(seconds) < 0.25


def test_stop_with_traffic(serve, make_model):
    container = serve()
    model = container.add(make_model())
    statuses: Counter[int] = Counter()
    stopped = threading.Event()

    def ask() -> None:
        headers = {"content-type": "text/csv"}
        url = f"{container.client.base_url}/models/{model.name}/invoke"
        with httpx.Client(timeout=20, trust_env=False) as client:
            while not stopped.is_set():
                try:
                    answer = client.post(url, content=csv_of(ROWS), headers=headers)
                except httpx.TransportError:  # nobody listens any more
                    return
                statuses[answer.status_code] += 1

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: statuses[200] > 50)
    started = time.monotonic()
    assert container.stop(within=10) == 0  # 137 would be SIGKILL
    print(f"docker stop with traffic: {time.monotonic() - started:.1f} s")  # noqa: T201
    stopped.set()
    for thread in threads:
        thread.join(30)
    assert set(statuses) == {200}
    assert not container.state["OOMKilled"]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_ends_it_with_status_0(serve, name):
    container = serve()
    container.docker.kill(signal=name)
    assert container.wait(10) == 0


def test_stopped_while_it_starts(run):
    container = run("serve")
    until(lambda: any(each.role == "java" for each in container.processes()), 30)
    assert container.stop(within=10) == 0


def test_killed_and_started_again(serve, make_model):
    container = serve()
    model = container.add(make_model())
    container.docker.kill(signal="SIGKILL")
    assert container.wait() == 137
    container.client.close()
    container.start()
    container.wait_ready()
    assert container.names() == set()
    container.add(model)
    assert_answers(container, model, ROWS)


def test_a_worker_that_is_killed_comes_back_with_its_models(serve, make_model):
    container = serve({"MME_HOSTS": "1"})
    model = container.add(make_model())
    (line,) = container.logs(event="loaded")
    container.run_inside("sh", "-c", f"kill -9 {line['pid']}")
    until(lambda: container.invoke(model.name, csv_of(ROWS)).status_code == 200, 20)
    assert_answers(container, model, ROWS)


def test_without_mms_the_container_ends_so_that_it_is_replaced(serve):
    container = serve()
    (java,) = [each for each in container.processes() if each.role == "java"]
    container.run_inside("sh", "-c", f"kill -9 {java.pid}")
    assert container.wait(20) == 1
    assert "MMS or the worker processes have ended" in container.log_text()


def test_orphans_are_reaped(serve, make_model):
    """As process 1 it inherits every process whose parent has ended."""
    container = serve()
    code = """
import subprocess
from mme_handler import model_fn as default

def model_fn(model_dir):
    for _ in range(5):
        subprocess.Popen(["sleep", "0.2"])  # and nobody waits for it
    return default(model_dir)
"""
    before = {each.pid for each in container.processes()}
    model = container.add(make_model(files={"code/inference.py": code}))
    for _ in range(20):
        container.run_inside("sh", "-c", "(sleep 0.3 &)")
    container.unload(model.name)

    def left() -> list[str]:
        return [
            f"{each.state} {each.command}"
            for each in container.processes()
            if each.pid not in before or each.state == "Z"
        ]

    until(lambda: not left(), 10, "no process more than before")


def test_health_check(run):
    container = run("serve", environment={"SAGEMAKER_MULTI_MODEL": "true"})
    assert container.state.get("Health"), "the image has no HEALTHCHECK"
    until(lambda: container.state["Health"]["Status"] == "healthy", 90, "healthy")


def test_health_check_on_another_port(run):
    container = run("serve", port=9191, environment={"SAGEMAKER_BIND_TO_PORT": "9191"})
    until(lambda: container.state["Health"]["Status"] == "healthy", 90, "healthy")


def test_no_arguments_serve(run):
    assert run().wait_ready().names() == set()


@pytest.mark.parametrize(
    ("command", "environment", "message"),
    [
        (["unknown"], {}, "No such command 'unknown'"),
        (["serve", "--unknown"], {}, "No such option: --unknown"),
        (["serve"], {"MME_MEMORY_BUDGET": "plenty"}, "'plenty' is not a size"),
        (["serve"], {"SAGEMAKER_MULTI_MODEL": "false"}, "there is no model directory"),
    ],
    ids=["command", "option", "setting", "no model"],
)
def test_a_mistake_ends_it_with_status_2_and_the_reason(run, command, environment, message):
    container = run(*command, environment=environment)
    assert container.wait(30) == 2
    assert message in container.log_text()
    assert "Traceback" not in container.log_text()
