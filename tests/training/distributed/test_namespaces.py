"""Hosts with a network each, as those of a training job: one address, one interface, own names."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from support.hosts import Host, Hosts, can_make_namespaces, csv, cut, namespaces

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_make_namespaces(), reason="needs root, and `ip` of iproute2"),
]


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    """Two hosts whose training would take for ever."""
    with namespaces(tmp_path, 2) as made:
        for number, host in enumerate(made.hosts):
            host.put("train", csv(300, number))
        made.seconds, made.hyperparameters["num_round"] = 0.2, 10000
        yield made


def listening(host: Host) -> set[tuple[str, str]]:
    """Addresses and ports on which the host listens."""
    assert host.network
    command = ["ip", "netns", "exec", host.network, "ss", "-Hltn"]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    addresses = [line.split()[3].rpartition(":") for line in found.splitlines()]
    return {(address, port) for address, _, port in addresses}


def test_two_hosts_train_one_model(hosts: Hosts) -> None:
    hosts.seconds, hosts.hyperparameters["num_round"] = 0, 8
    assert hosts.run() == [0, 0], hosts.log()
    assert hosts[0].model.num_boosted_rounds() == 8
    assert len(hosts[0].lines) == 8
    assert hosts[1].lines == []


def test_hosts_listen_where_the_job_is_and_nowhere_else(hosts: Hosts) -> None:
    hosts.start()
    hosts[0].await_rounds()
    for number, host in enumerate(hosts.hosts, start=1):
        sockets = listening(host)
        own = {port for address, port in sockets if address == f"10.213.7.{number}"}
        # A worker; on the first host the scheduler and XGBoost's tracker as well.
        assert ("8786" in own) == (number == 1)
        assert len(own) == (3 if number == 1 else 1)
        # XGBoost's own workers take any address of the host, and there is one of them.
        assert [address for address, port in sockets if port not in own] == ["0.0.0.0"]


@pytest.mark.parametrize("number", [0, 1])
def test_a_host_that_dies_is_named(hosts: Hosts, number: int) -> None:
    hosts.start()
    hosts[0].await_rounds()
    hosts[number].kill()
    other = hosts[1 - number]
    assert other.wait() == 1, hosts.log()
    assert other.result["error"].startswith(f"algo-{number + 1} was lost during training")


def test_hosts_that_are_cut_off_name_each_other(hosts: Hosts) -> None:
    hosts.start()
    hosts[0].await_rounds()
    cut(hosts[1])
    assert [host.wait() for host in hosts.hosts] == [1, 1], hosts.log()
    assert hosts[0].result["error"].startswith("algo-2 was lost during training")
    assert hosts[1].result["error"].startswith("algo-1 was lost during training")


def test_networks_and_processes_end_with_the_hosts(tmp_path: Path) -> None:
    with namespaces(tmp_path, 1) as made:
        (host,) = made.hosts
        assert host.network
        host.put("train", csv(300, 0))
        made.start()
        host.await_workers()
        workers = host.workers
    _, alive = psutil.wait_procs(workers, 30)
    assert not alive
    networks = subprocess.run(["ip", "netns"], check=True, capture_output=True, text=True).stdout
    assert host.network not in networks
    assert not (Path("/etc/netns") / host.network).exists()
