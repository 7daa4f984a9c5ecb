"""Clients that many threads share."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from mme_local.aws.clients import Clients
from support.aws import REGION

THREADS = 8


@pytest.fixture
def hurried() -> Iterator[None]:
    """Threads take turns as often as Python lets them."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def test_the_first_threads_that_want_an_exception_get_the_same_one(hurried) -> None:
    """What one thread's call raises is caught by the name that another has looked up."""
    logs = Clients("http://127.0.0.1:1", REGION).client("logs")
    together = threading.Barrier(THREADS)
    found = []

    def look_up() -> None:
        together.wait()
        found.append(logs.exceptions.ResourceAlreadyExistsException)

    threads = [threading.Thread(target=look_up) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == THREADS
    assert len(set(found)) == 1
