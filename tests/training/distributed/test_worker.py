from __future__ import annotations

import pytest

from mme_training.distributed.job import Cluster
from mme_training.distributed.names import address_of, host_of, worker_name
from mme_training.distributed.worker import environment
from mme_training.errors import AlgorithmError


def cluster(*, gpus: bool = True, interface: str | None = "eth0") -> Cluster:
    hosts = ("algo-2", "algo-1")
    return Cluster(hosts, "algo-2", workers_per_host=2, gpus=gpus, interface=interface)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"CUDA_VISIBLE_DEVICES": "1", "NCCL_SOCKET_IFNAME": "eth0"}),
        (
            {"CUDA_VISIBLE_DEVICES": "4,6", "NCCL_SOCKET_IFNAME": "ib0"},
            {"CUDA_VISIBLE_DEVICES": "6"},
        ),
    ],
)
def test_each_worker_sees_one_gpu(given: dict[str, str], expected: dict[str, str]) -> None:
    assert environment(cluster(), 1, given) == expected


def test_workers_on_cpus_see_what_their_parent_sees() -> None:
    assert environment(cluster(gpus=False), 1, {}) == {}


def test_the_first_host_by_name_leads() -> None:
    assert cluster().first == "algo-1"
    assert not cluster().leads
    assert host_of(worker_name("algo-1", 12)) == "algo-1"


def test_a_name_that_nobody_knows_is_named() -> None:
    with pytest.raises(AlgorithmError, match=r"algo-77\.invalid has no address after 0 seconds"):
        address_of("algo-77.invalid", 0)
    assert address_of("127.0.0.1", 0) == "127.0.0.1"
