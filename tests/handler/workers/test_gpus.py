"""Which GPU a model goes to, and what it is charged with there."""

from __future__ import annotations

import types
from pathlib import Path

import pytest

from mme_handler.errors import OutOfMemoryError
from mme_handler.models.gpu import Gpu, Gpus
from mme_handler.workers.gpus import Placement

GB = 10**9
DEVICES = tuple(Gpu(f"GPU-{n}", "T4", 16 * GB, (7, 5)) for n in range(2))
ARCHIVE = types.SimpleNamespace(format="ubj", size=10_000_000, directory=Path("/m"))


class Launch:
    """Stands for a model; compared by identity, as the real one is."""


@pytest.fixture
def used() -> dict[str, int]:
    return {"GPU-0": 0, "GPU-1": 0}


def place(used: dict[str, int], workers: int = 1) -> Placement:
    gpus = Gpus(DEVICES, "535", (12, 2), lambda gpu: used[gpu.uuid])
    return Placement(gpus, 6 << 20, workers)


def test_without_gpus():
    places, launch = Placement(None, 6 << 20, 1), Launch()
    assert places.hosts(3) == [None, None, None]
    assert places.choose(launch, 1) is None
    assert places.environment(None) == {}
    places.admit(launch, None, "shared", ARCHIVE)
    places.loaded(launch, None)
    places.host_ended(None)
    places.release(launch)
    assert places.charge(launch) is None
    assert list(places.usage()) == []


def test_a_host_for_each_gpu(used):
    places = place(used)
    assert places.hosts(8) == [0, 1]
    assert places.environment(1) == {"CUDA_VISIBLE_DEVICES": "GPU-1"}


def test_the_number_of_mms_decides(used):
    assert [place(used).choose(Launch(), number) for number in (0, 1)] == [0, 1]


@pytest.mark.parametrize("named", [-1, 2])
def test_a_number_that_is_none(used, named):
    """As where `nvidia-smi` does not run, and MMS counts no GPU."""
    places, launches = place(used), [Launch() for _ in range(4)]
    for launch in launches:
        places.admit(launch, places.choose(launch, named), "shared", ARCHIVE)
    assert [places.choose(launch, named) for launch in launches] == [0, 1, 0, 1]  # and stays there
    places.release(launches[0])
    assert places.choose(Launch(), named) == 0


def test_charges(used):
    places, launch = place(used), Launch()
    used["GPU-0"] = 16 * GB
    with pytest.raises(OutOfMemoryError):
        places.admit(launch, 0, "shared", ARCHIVE)
    assert places.charge(launch) == 0
    places.admit(launch, 1, "shared", ARCHIVE)
    places.admit(launch, 1, "shared", ARCHIVE)  # another of its workers
    once = places.charge(launch)
    assert once > ARCHIVE.size
    used["GPU-0"] = 0
    places.admit(launch, 0, "shared", ARCHIVE)
    assert places.charge(launch) == 2 * once
    (first, second) = places.usage()
    assert (first.number, first.total, second.number) == (0, 16 * GB, 1)
    assert first.charged == second.charged > once
    places.release(launch)
    places.release(launch)
    assert places.charge(launch) == 0


@pytest.mark.parametrize(("workers", "copies"), [(1, 1), (2, 1), (3, 2), (4, 2)])
def test_workers_are_spread_over_the_gpus(used, workers, copies):
    one, many = place(used), place(used, workers)
    launch = Launch()
    one.admit(launch, 0, "shared", ARCHIVE)
    many.admit(launch, 0, "shared", ARCHIVE)
    assert many.charge(launch) == copies * one.charge(launch)
